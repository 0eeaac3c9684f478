"""Mobile image-classification networks for PaddlePaddle.

    import image_classification as ic
    model = ic.create_model('mobileformer_26m', num_classes=10)

Part of the distribution paddle-mobile-backbones. `import paddle_mobile_backbones as ic` gives the same library.

Importing the package does not import Paddle and changes nothing in the process: each name is loaded when it is first used.
On a CPU, call `ic.tune_cpu()` first.
"""
import importlib.util
import sys
import types

__version__ = '0.1.0'

_MODULES = {                               # public name: the module that defines it
    'UserError': 'errors',
    'create_model': 'models',
    'fuse': 'fuse',
    'get_config': 'config',
    'list_models': 'models',
    'list_pretrained': 'models',
    'load_weights': 'weights',
    'tune_cpu': 'cpu.settings',
}
__all__ = sorted(_MODULES)


def __getattr__(name):
    if name in _MODULES:
        value = getattr(_imported(_MODULES[name]), name)
    elif not name.startswith('_') and importlib.util.find_spec(f'{__name__}.{name}'):
        value = _imported(name)                                    # ic.weights.from_torch works without another import
    else:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    globals()[name] = value
    return value


def _imported(module):
    try:
        return importlib.import_module(f'{__name__}.{module}')
    except ModuleNotFoundError as error:
        if error.name != 'paddle':
            raise
        from image_classification.installation.missing_paddle import MissingPaddle
        raise MissingPaddle.of(error) from None                    # the message has the command that installs it


def __dir__():
    return sorted({*globals(), *__all__})


class _Package(types.ModuleType):
    """Keeps `fuse` a function: the module that defines it has the same name, and importing it would overwrite the function."""

    def __setattr__(self, name, value):
        super().__setattr__(name, getattr(value, name) if name in _MODULES and isinstance(value, types.ModuleType) else value)


sys.modules[__name__].__class__ = _Package
