"""Published weights: the catalogue, readers for weights files, and loading into a network.

The functions below are those of `loading`. It is imported, with Paddle, when the first of them is used. Reading a configuration
needs the catalogue only, and so imports neither Paddle nor the code for downloads.
"""
import importlib

__all__ = ['from_torch', 'load_state', 'load_weights', 'read_for', 'read_safetensors', 'read_weights', 'to_torch',
           'write_safetensors']


def __getattr__(name):
    if name not in __all__:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(importlib.import_module(f'{__name__}.loading'), name)
