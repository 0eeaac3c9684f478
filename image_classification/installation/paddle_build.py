"""Which PaddlePaddle is here. pip does not choose it: it would put the build for CPUs over that for GPUs, whose name is other.

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
_NIGHTLY = Version('0.0.0')                # what a build of Paddle's own development branch says


def installed_builds():
    """{name: version} of the distributions of PaddlePaddle that pip has installed here."""
    found = {}
    for name in BUILDS:
        try:
            found[name] = Version(metadata.version(name))
        except (metadata.PackageNotFoundError, InvalidVersion):
            pass
    return found


@cache
def check_paddle():
    """Warn, once, of a PaddlePaddle that was not tested and of two builds at a time.

    Raises:
        MissingPaddle: there is none, or one that is too old.
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
