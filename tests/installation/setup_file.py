"""setup.py as data."""
import runpy
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]


def read_setup():
    """What setup.py gives to setuptools."""
    given = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr('setuptools.setup', lambda **keywords: given.update(keywords))
        patch.chdir(PROJECT)
        runpy.run_path(str(PROJECT / 'setup.py'))
    return given
