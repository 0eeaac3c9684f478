"""Networks of timm and torchvision, filled at random, saved in each format, loaded here: the same logits.

    TORCH_PYTHON=/path/to/python pytest tests/optional -s

TORCH_PYTHON is a Python that has torch, timm, torchvision and safetensors; without it the tests want them beside Paddle, and
are skipped where they are not. The two frameworks never share a process.
"""
import importlib.util
import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import paddle
import pytest

import image_classification as ic
from tests.test_published import ENTRIES, theirs

NEEDED = ('torch', 'timm', 'torchvision')
pytestmark = pytest.mark.skipif('TORCH_PYTHON' not in os.environ and not all(map(importlib.util.find_spec, NEEDED)),
                                reason='wants torch, timm and torchvision, here or in TORCH_PYTHON')
NETWORKS = sorted({(name, entry['STYLE']) for name, entry in ENTRIES if entry['STYLE'] in ('timm', 'torchvision')})
FORMATS = ('weights.safetensors', 'weights.pth', 'legacy.pth')
WIDEST = 1e-5                                                      # difference / deviation of the logits


@pytest.mark.parametrize('name, style', NETWORKS)
def test_gives_the_logits_of_the_original(name, style, tmp_path, float64):
    """In float64: where attention is sharp, rounding to float32 grows beyond any useful tolerance, in both frameworks."""
    size = ic.get_config(name).DATA.IMAGE_SIZE
    python = os.environ.get('TORCH_PYTHON', sys.executable)
    script = Path(__file__).with_name('torch_side.py')
    subprocess.run([python, script, style, theirs(name, style), str(size), tmp_path], check=True)
    recorded = np.load(tmp_path / 'io.npz')
    for file in FORMATS:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')                        # of auxiliary heads that timm leaves out
            model = ic.create_model(name, pretrained=str(tmp_path / file)).eval()
        with paddle.no_grad():
            logits = model(paddle.to_tensor(recorded['image'], 'float64')).numpy()
        error = np.abs(logits - recorded['logits']).max() / recorded['logits'].std()
        print(f'{name:26} {style:12} {file:20} {error:.1e}')
        assert error < WIDEST
