"""Published weights: which there are, how they are read, and how a network gets them.

The functions below are those of `loading`, which comes with Paddle when the first one is used: the catalogue alone, which reading
a configuration needs, takes neither that nor the code for downloads.
"""
import importlib

__all__ = ['from_torch', 'load_state', 'load_weights', 'read_for', 'read_safetensors', 'read_weights', 'to_torch',
           'write_safetensors']


def __getattr__(name):
    if name not in __all__:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(importlib.import_module(f'{__name__}.loading'), name)
