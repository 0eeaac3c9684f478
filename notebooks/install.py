"""What the notebooks need, installed where it is missing; the first cell of each runs this file.

A Paddle that is there stays, whatever its build: AI Studio's is for GPUs, and `pip install paddlepaddle` would put the one for
CPUs over it. Nothing is installed twice, so that the cell may run again. Afterwards the repository is the working directory and
can be imported, also in cells of bash, whose `python` is the notebook's own; Paddle is told how to be fast on a CPU.
"""
import importlib
import importlib.metadata
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

try:
    from packaging.requirements import Requirement
    from packaging.version import Version
except ImportError:                                      # not there before something is installed: pip carries its own
    from pip._vendor.packaging.requirements import Requirement
    from pip._vendor.packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]
# `install_requires` of setup.py, and what the notebooks draw and learn from.
NEEDED = ('packaging', 'setuptools', 'yacs', 'numpy', 'Pillow>=10.1', 'safetensors', 'tqdm', 'matplotlib', 'mlxtend>=0.23')
PADDLE = Requirement('paddlepaddle>=3.1,<3.4')
OLDEST = Version('3.1')                                  # a newer one than was tested may well do


def main():
    wanted = [name for name in NEEDED if not is_installed(Requirement(name))]
    if importlib.util.find_spec('paddle') is None:
        wanted.append(str(PADDLE))
    else:
        check_paddle()
    if wanted:
        install(wanted)
    os.chdir(ROOT)
    if sys.path[:1] != [str(ROOT)]:
        sys.path.insert(0, str(ROOT))
        os.environ['PYTHONPATH'] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get('PYTHONPATH')]))
    from image_classification.cpu import settings        # of the clone, whatever else is installed
    settings.quieten()
    settings.tune_cpu()
    folder = os.path.dirname(sys.executable)
    if os.environ['PATH'].split(os.pathsep)[0] != folder:
        os.environ['PATH'] = folder + os.pathsep + os.environ['PATH']
    print(f'{"installed " + ", ".join(wanted) if wanted else "everything is there"}; working in {ROOT}')


def is_installed(requirement):
    try:
        return requirement.specifier.contains(importlib.metadata.version(requirement.name), prereleases=True)
    except importlib.metadata.PackageNotFoundError:
        return False


def check_paddle():
    """Stop the cell where Paddle, of whatever build, is too old. One that was built here and not installed has no version."""
    for name in importlib.metadata.packages_distributions().get('paddle', []):
        version = Version(importlib.metadata.version(name))
        nightly = version == Version('0.0.0')
        if not nightly and version < OLDEST:
            raise SystemExit(f'{name} {version} is installed; wanted {OLDEST} or newer. Choose an environment with Paddle 3 '
                             '(on AI Studio, when the machine is started), or install it as the site of Paddle says. It was '
                             'left as it is.')


def install(wanted):
    """Install what is missing, beside the numpy that is there: the Paddle that is there was built for it."""
    pinned = [f'{name}=={importlib.metadata.version(name)}' for name in ('numpy',) if is_installed(Requirement(name))]
    command = [sys.executable, '-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', *wanted, *pinned]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding='utf-8', errors='replace')
    if done.returncode:
        raise SystemExit(f'{done.stdout}pip could not install {", ".join(wanted)}; its last lines say why. Without a '
                         'connection, bring the packages as files and install them first.')
    importlib.invalidate_caches()


if __name__ == '__main__':
    main()
