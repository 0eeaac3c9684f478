"""The library under a package name that no other distribution uses:

    import paddle_mobile_backbones as ic
    model = ic.create_model('mobileformer_26m', num_classes=10)

Modules are those of the package `image_classification` next to this directory; under both names, modules and classes are the
same objects. The name `image_classification` is not unique. An unrelated distribution, `image-classification`, overwrites its
`__init__.py`, and deletes it when it is removed. A folder of that name in the working directory hides the package. Under this
name the library works in all these cases, and a warning says what has happened and what to do.
"""
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import json
import shlex
import sys
import warnings
from importlib import metadata
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

_FIRST, _DISTRIBUTION = 'image_classification', 'paddle-mobile-backbones'
_PACKAGE = Path(__file__).resolve().parents[1] / _FIRST
_COPY = Path(__file__).with_name('first_init.py')                  # a copy of its __init__.py, included in wheels
_OWN = (f'{__name__}.__main__',)
_REMOVE = 'pip uninstall image-classification'
_MEANWHILE = f'`import {__name__} as ic` works all the same'


def _is_ours(file):
    """Whether an __init__.py belongs to this library; False for None or a missing file."""
    try:
        return _DISTRIBUTION in Path(file).read_text(encoding='utf-8')
    except (TypeError, OSError, UnicodeDecodeError):
        return False


def _found_by_name():
    """The file or directory that `import image_classification` would find, whatever is imported already; '' for none."""
    spec = importlib.machinery.PathFinder.find_spec(_FIRST)
    return spec and (spec.origin or next(iter(spec.submodule_search_locations or ()), '')) or ''


def _repair():
    """The command that repairs this library. It uses the file or address from which pip installed it, if any, because an index
    may not have it."""
    given = _DISTRIBUTION
    try:
        url = json.loads(metadata.distribution(_DISTRIBUTION).read_text('direct_url.json'))['url']
        file = Path(url2pathname(urlsplit(url).path)) if url.startswith('file:') else None
        given = url if file is None else str(file) if file.is_file() else given
    except (metadata.PackageNotFoundError, TypeError, ValueError, KeyError):
        pass
    return f'pip install --force-reinstall --no-deps {shlex.quote(given)}'


def _problem():
    """What is wrong with the other name and what to do, in one line; '' if nothing is wrong."""
    own = _PACKAGE / '__init__.py'
    if not own.is_file():
        return (f'{own} is missing: the removal of another distribution, such as image-classification, has deleted it. Repair '
                f'it by: {_repair()}')
    if not _is_ours(own):
        return (f'{own} is not of {_DISTRIBUTION}: another distribution, such as image-classification, has written over it. '
                f'Remove that one and repair this one by: {_REMOVE} && {_repair()}')
    found = _found_by_name()
    if not found or _is_ours(found):
        return ''
    folder = Path(found).parent if Path(found).name == '__init__.py' else Path(found)
    if folder.resolve().parent == Path.cwd():
        return (f'the folder {folder.resolve()} in the working directory hides the package {_FIRST} of {_DISTRIBUTION}. Rename '
                'that folder, or start Python elsewhere')
    return (f'{folder} hides the package {_FIRST} of {_DISTRIBUTION}; it may be of the distribution image-classification, '
            f'which this removes: {_REMOVE}')


def _load():
    """Import the package `image_classification` of this library, also into `sys.modules`, and return it."""
    known = sys.modules.get(_FIRST)
    if known is not None and _is_ours(getattr(known, '__file__', None)):
        return known
    foreign = getattr(known, '__file__', None)
    if foreign and Path(foreign).resolve().parent != _PACKAGE:
        raise ImportError(f'{foreign} is imported already, as {_FIRST}, and is not of {_DISTRIBUTION}, whose package has the '
                          f'same name. Rename that one, or import {__name__} in a process of its own', name=__name__)
    problem = _problem()
    if problem:
        warnings.warn(f'{problem}. {_MEANWHILE}', stacklevel=3)
    own = _PACKAGE / '__init__.py'
    file = own if _is_ours(own) else _COPY
    if not file.is_file():
        raise ImportError(f'{problem}', name=__name__)
    spec = importlib.util.spec_from_file_location(_FIRST, file, submodule_search_locations=[str(_PACKAGE)])
    module = sys.modules[_FIRST] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _first_name(name):
    return _FIRST + name.removeprefix(__name__)


class _SecondNames(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Import hook that makes `paddle_mobile_backbones.models` the same module object as `image_classification.models`."""

    def find_spec(self, name, path=None, target=None):
        if not name.startswith(f'{__name__}.') or name in _OWN:
            return None
        found = importlib.util.find_spec(_first_name(name))
        return found and importlib.util.spec_from_loader(name, self, origin=found.origin,
                                                         is_package=found.submodule_search_locations is not None)

    def create_module(self, spec):
        module = importlib.import_module(_first_name(spec.name))
        spec.loader_state = module.__spec__
        return module

    def exec_module(self, module):
        """Nothing to execute. Only restores the module's spec, which Python has replaced by that of the second name."""
        module.__spec__ = module.__spec__.loader_state

    def get_code(self, name):
        """Needed for `python -m paddle_mobile_backbones.integrations` and the like."""
        return importlib.util.find_spec(_first_name(name)).loader.get_code(_first_name(name))


_library = _load()
sys.meta_path.insert(0, _SecondNames())
sys.modules[__name__].__class__ = type(_library)                   # keeps `fuse` a function when its module is imported
__version__, __all__ = _library.__version__, _library.__all__


def __getattr__(name):
    return getattr(_library, name)


def __dir__():
    return dir(_library)
