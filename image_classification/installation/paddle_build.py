"""Checks which PaddlePaddle is installed. It is not a requirement for pip, which would install the CPU build over a GPU build:
the two have different names.

Paddle itself is not imported.
"""
import importlib.util
import sys
import warnings
from functools import cache
from importlib import metadata

from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version

from image_classification.installation import pip
from image_classification.installation.missing_paddle import WANTED, MissingPaddle, how_to_install

BUILDS = ('paddlepaddle', 'paddlepaddle-gpu')
_NIGHTLY = Version('0.0.0')                # version of builds of Paddle's development branch


def installed_builds():
    """{name: version} of the installed PaddlePaddle distributions."""
    found = {}
    for name in BUILDS:
        try:
            found[name] = Version(metadata.version(name))
        except (metadata.PackageNotFoundError, InvalidVersion):
            pass
    return found


@cache
def check_paddle():
    """Warn once about an untested PaddlePaddle, or two installed builds.

    Raises:
        MissingPaddle: PaddlePaddle is missing or too old.
    """
    builds = installed_builds()
    if 'paddle' not in sys.modules and importlib.util.find_spec('paddle') is None:
        raise MissingPaddle.of(ModuleNotFoundError(name='paddle'))
    if len(builds) > 1:
        both = ' and '.join(f'{name} {version}' for name, version in builds.items())
        warnings.warn(f'{both} are both installed and share the directory `paddle`: the one that came last has written over '
                      f'the other. Remove both by: {pip()} uninstall {" ".join(builds)}; then install one '
                      f'{how_to_install()}', stacklevel=3)
        return
    for name, version in builds.items():
        if version == _NIGHTLY or SpecifierSet(WANTED).contains(version.base_version):
            continue
        if version < Version('3'):
            raise MissingPaddle(f'{name} {version} is too old; wanted {WANTED}. Install one {how_to_install()}', name='paddle')
        warnings.warn(f'{name} {version} was not tested with this library; wanted {WANTED}. If something fails, install '
                      f'another {how_to_install()}', stacklevel=3)
