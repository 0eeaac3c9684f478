"""Settings of the process that make Paddle faster on a CPU, and quieter. The library makes none of them by itself: its commands
do, and programs call `ic.tune_cpu()`.

Measured on AMD processors with 2 cores: small convolutions and matrix products run 2 to 10 times faster with them.
"""
import ctypes
import gc
import os
import platform
import sys
import warnings
from pathlib import Path

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4            # <malloc.h>
_NO_CCACHE = 'No ccache found'
_TRACKED = 'When training, we now always track global mean and variance'   # of batch norms in an evaluation of theirs


def tune_cpu():
    """Make Paddle faster on a CPU, for this process and, where it can be inherited, for those that it starts. To be called
    before Paddle computes anything, best before `import paddle`.

    - `MKL_DEBUG_CPU_TYPE`: the MKL inside Paddle takes its slowest path on AMD processors unless it is told what they can.
      It reads this variable once, at the first matrix product or convolution. One that you have set is kept.
    - `mallopt`: glibc's malloc keeps freed memory instead of giving every map back to the kernel. It holds at once, and
      processes that are started call this function for themselves.

    With PADDLE_MOBILE_BACKBONES_PLAIN=1 in the environment nothing is changed.

    Returns:
        {setting: what was done, in words}, for a log.
    """
    if os.environ.get('PADDLE_MOBILE_BACKBONES_PLAIN') == '1':
        off = 'not changed: PADDLE_MOBILE_BACKBONES_PLAIN is 1'
        return {'MKL_DEBUG_CPU_TYPE': off, 'mallopt': off}
    return {'MKL_DEBUG_CPU_TYPE': _tune_mkl(), 'mallopt': _tune_malloc()}


def _tune_mkl():
    variable, kind = 'MKL_DEBUG_CPU_TYPE', mkl_cpu_type(cpu_features())
    if variable in os.environ:
        return f'kept: {os.environ[variable]}'
    if not kind:
        return 'not changed: no processor with AVX2, or not known'
    os.environ[variable] = kind
    late = '; if Paddle has computed something already, it does not notice' if 'paddle' in sys.modules else ''
    return f'set to {kind}{late}'


def _tune_malloc():
    if platform.libc_ver()[0] != 'glibc':
        return 'not changed: only for glibc'
    mallopt = ctypes.CDLL(None).mallopt
    done = [mallopt(_M_MMAP_MAX, 0), mallopt(_M_TRIM_THRESHOLD, 2**31 - 1), mallopt(_M_TOP_PAD, 64 << 20)]
    return 'set: freed memory is kept' if all(done) else 'refused by this glibc'


def release_memory():
    """Give back to the system what `tune_cpu` lets malloc keep, for other processes: gigabytes after large batches."""
    gc.collect()
    if platform.libc_ver()[0] == 'glibc':
        ctypes.CDLL(None).malloc_trim(0)


def quieten():
    """For commands, before `import paddle`: leave out what Paddle says at every import and about every trace, for the processes
    that they start, too; and the lines of code from which users are warned."""
    warnings.filterwarnings('ignore', message=_NO_CCACHE)          # said at every import, meant for who builds operators
    warnings.filterwarnings('ignore', message=_TRACKED)
    warnings.formatwarning = _one_line
    os.environ.setdefault('GLOG_minloglevel', '2')                 # errors only
    told = os.environ.get('PYTHONWARNINGS', '')
    if _NO_CCACHE not in told:
        os.environ['PYTHONWARNINGS'] = ','.join(filter(None, [told, f'ignore:{_NO_CCACHE}']))


def _one_line(message, category, filename, lineno, line=None):
    """As `warnings.formatwarning`, which it takes the place of; what is for programmers stays as it was."""
    return f'warning: {message}\n' if category is UserWarning else f'{filename}:{lineno}: {category.__name__}: {message}\n'


def usable_cores():
    """How many cores this process may use: fewer than there are where it is bound to some."""
    return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1


def cpu_features():
    """Lower-case names of the instruction sets of an x86 processor under Linux or Windows; empty where they are not known."""
    if platform.machine().lower() not in ('x86_64', 'amd64'):
        return set()
    if sys.platform == 'win32':
        present = ctypes.windll.kernel32.IsProcessorFeaturePresent
        return {name for name, number in (('avx2', 40), ('avx512bw', 41)) if present(number)}   # <winnt.h>
    try:
        lines = Path('/proc/cpuinfo').read_text(encoding='utf-8', errors='replace').splitlines()
    except OSError:
        return set()
    flags = next((line for line in lines if line.startswith('flags')), '')
    return set(flags.partition(':')[2].split())


def mkl_cpu_type(features):
    """The value of MKL_DEBUG_CPU_TYPE for a processor: 7 is MKL's code for AVX-512, 5 that for AVX2, '' lets MKL choose.

    A processor without AVX-512, as AMD's up to Zen 3, ends the process with SIGILL in the code for it.
    """
    if 'avx512bw' in features:
        return '7'
    return '5' if 'avx2' in features else ''
