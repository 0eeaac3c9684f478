"""Optional C++ operators for a CPU in float32, with gradients: depthwise convolution, activations, layer norms, biases.
Beside them, plain functions for a training step (see `training_step.py`).

`python -m image_classification.cpu.build_operators` compiles them once for this machine and this version of Paddle, into the
cache (see `download/`). If they exist, eager mode uses them; PADDLE_MOBILE_BACKBONES_OPERATORS=0 switches them off. Nothing
requires them, and exports do not contain them.
"""
import ctypes
import hashlib
import os
import platform
import sys
import warnings
from functools import lru_cache
from pathlib import Path

import paddle

from image_classification.cpu import paddle_internals
from image_classification.download import cache_directory

SOURCE = Path(__file__).with_name('cpp') / 'operators.cc'                 # includes the .h files beside it
SWITCH = 'PADDLE_MOBILE_BACKBONES_OPERATORS'                       # environment variable; '0': off
NAMES = [f'mobile_backbones_{name}' for name in ('depthwise', 'dynamic_relu', 'channel_norm', 'row_norm', 'gelu', 'hardswish',
                                                 'bias')]

_loaded_from = []                                                  # the library, once it is loaded


def library_path():
    """Path of the compiled operators for this source, Paddle, Python and kind of machine, whether it exists or not."""
    code = [path.read_text(encoding='utf-8') for path in sorted(SOURCE.parent.glob('*.*'))]
    made_of = [*code, paddle.__version__, sys.version.split()[0], sys.platform, platform.machine(),
               *platform.libc_ver(), str(paddle.is_compiled_with_cuda())]
    key = hashlib.sha256('\n'.join(made_of).encode()).hexdigest()[:16]
    return cache_directory() / 'operators' / f'operators-{key}.so'


def digest_path(library):
    """The file with the checksum of a library. Loading a damaged library may kill the process."""
    return library.with_suffix('.sha256')


def digest(library):
    return hashlib.sha256(library.read_bytes()).hexdigest()


def serves(x):
    """Whether the operators are available and support `x`: eager mode, on a CPU, float32."""
    return paddle.in_dynamic_mode() and x.place.is_cpu_place() and x.dtype == paddle.float32 and loaded()


@lru_cache(maxsize=1)
def loaded():
    """Load the operators, once per process. Returns False if there are none. Warns about a damaged library."""
    if os.environ.get(SWITCH) == '0':
        return False
    library = library_path()
    try:
        if not library.exists():
            return False
        if digest(library) != digest_path(library).read_text(encoding='utf-8').strip():
            raise OSError('the file has changed since it was built')
        names = paddle_internals.load_operators(library)
        _loaded_from.append(library)
        return set(NAMES) <= names
    except (OSError, RuntimeError, ValueError) as error:
        warnings.warn(f'the operators in {library} cannot be loaded ({error}), so slower code is used. Build them again with: '
                      'python -m image_classification.cpu.build_operators')
        return False


@lru_cache(maxsize=1)
def plain_functions():
    """The loaded library as `ctypes` sees it, for its functions that are no operators."""
    return ctypes.CDLL(str(_loaded_from[-1]), mode=os.RTLD_NOW | os.RTLD_NOLOAD)    # loading it twice would end the process


def _run(name, *arguments):
    return paddle_internals.run_operator(f'mobile_backbones_{name}', *arguments)[0]


def depthwise(x, weight, stride, padding):
    """(B, C, H, W), (C, 1, k_h, k_w) -> (B, C, H', W'), all float32. Any kernel size, stride and padding ((top, bottom),
    (left, right))."""
    return _run('depthwise', x, weight, *stride, *padding[0], *padding[1])


def dynamic_relu(x, lines):
    """(B, C, H, W), (4, B, C): a1, b1, a2, b2 -> max(a1 x + b1, a2 x + b2), both float32."""
    return _run('dynamic_relu', x, lines)


def channel_norm(x, weight, bias, epsilon):
    """Layer norm over the channels of each pixel: (B, C, H, W), (C), (C) -> (B, C, H, W), all float32."""
    return _run('channel_norm', x, weight, bias, epsilon)


def row_norm(x, weight, bias, epsilon):
    """Layer norm over the last axis: (..., C), (C), (C) -> (..., C), all float32."""
    return _run('row_norm', x, weight, bias, epsilon)


def activation(name, x):
    """'gelu' (exact) or 'hardswish' of x, float32 of any shape."""
    return _run(name, x)


def add_bias(x, bias, pixels=1):
    """(..., C, pixels), (C) -> x + bias, in the memory of x. Only for an x that nothing else uses, its own gradient included.
    The pixels may have two axes or, if there is only one, none."""
    return _run('bias', x, bias, pixels)
