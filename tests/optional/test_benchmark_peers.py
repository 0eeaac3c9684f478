"""tools/benchmark.py beside timm and torchvision. Skipped where they are not, like test_against_torch.py."""
import os
import sys

from tests.optional.test_against_torch import pytestmark  # noqa: F401
from tests.tools.conftest import run_tool  # noqa: F401
from tests.tools.test_benchmark_command import MODEL, TINY, rows


def test_runs_beside_networks_of_pytorch(run_tool):  # noqa: F811
    python = os.environ.get('TORCH_PYTHON', sys.executable)
    done = run_tool('benchmark.py', MODEL, 'googlenet', *TINY, '--what', 'forward', 'step', '--engines', 'eager',
                    '--peers', 'timm', 'torchvision', '--peer-python', python)
    assert done.returncode == 0 and 'What did not run' not in done.stdout, done.stdout + done.stderr
    found = {(row['model'], row['what']): row for row in rows(done.stdout)}
    for what in ('forward', 'step'):
        assert '±' in found['googlenet', what]['torchvision'] and '±' in found[MODEL, what]['timm']
