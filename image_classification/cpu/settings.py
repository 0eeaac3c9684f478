"""Process settings that make Paddle faster on a CPU, and quieter. Importing the library does not apply them. Its commands do,
and programs can call `ic.tune_cpu()`.

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
_MADV_HUGEPAGE, _HUGE_PAGE = 14, 2 << 20                           # <sys/mman.h>, bytes
_NO_CCACHE = 'No ccache found'
_TRACKED = 'When training, we now always track global mean and variance'   # about batch norms in evaluation mode


def tune_cpu():
    """Make Paddle faster on a CPU, in this process and, as far as settings are inherited, in its child processes.

    Call it before Paddle computes anything, best before `import paddle`. It changes two settings:
    - `MKL_DEBUG_CPU_TYPE`: on AMD processors, the MKL inside Paddle uses its slowest code unless this variable tells it what
      they support. MKL reads it once, at the first matrix product or convolution. If you have set it, your value is kept.
    - `mallopt`: glibc's malloc keeps freed memory instead of returning every feature map to the kernel, in pages of 2 MiB
      where Linux allows it. It takes effect at once, in this process only; child processes must call this function themselves.

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
    done = [mallopt(_M_MMAP_MAX, 0), mallopt(_M_TRIM_THRESHOLD, -1), mallopt(_M_TOP_PAD, 64 << 20)]
    if not all(done):
        return 'refused by this glibc'
    return f'set: freed memory is kept{", in huge pages where the system allows them" if _advise_huge_pages() else ""}'


def _advise_huge_pages():
    """Ask for pages of 2 MiB in the part of the address space where malloc will put its memory. Returns whether Linux agreed.

    Large maps then cost fewer page faults: training steps of MobileFormer-26M (64 px, batch 64) are 3 % faster, of ShuffleNetV2
    (224 px, batch 8) 7 %. It reserves addresses only: malloc takes memory when something is written to it.
    """
    libc = ctypes.CDLL(None)
    libc.malloc.restype = ctypes.c_void_p
    size = os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') // 4
    block = libc.malloc(ctypes.c_size_t(size))
    if not block:                                                  # the process may not have that many addresses
        return False
    begin = -(-block // _HUGE_PAGE) * _HUGE_PAGE
    agreed = libc.madvise(ctypes.c_void_p(begin), ctypes.c_size_t(block + size - begin), _MADV_HUGEPAGE) == 0
    libc.free(ctypes.c_void_p(block))
    return agreed


def release_memory():
    """Return the memory that malloc keeps after `tune_cpu` to the system: gigabytes after large batches."""
    gc.collect()
    if platform.libc_ver()[0] == 'glibc':
        ctypes.CDLL(None).malloc_trim(0)


def quieten():
    """Make commands quieter; call it before `import paddle`.

    It suppresses Paddle's messages at every import and every trace, also in child processes. Warnings for users are printed
    without the line of code that they come from.
    """
    warnings.filterwarnings('ignore', message=_NO_CCACHE)          # printed at every import, but useful only to build operators
    warnings.filterwarnings('ignore', message=_TRACKED)
    warnings.formatwarning = _one_line
    os.environ.setdefault('GLOG_minloglevel', '2')                 # errors only
    told = os.environ.get('PYTHONWARNINGS', '')
    if _NO_CCACHE not in told:
        os.environ['PYTHONWARNINGS'] = ','.join(filter(None, [told, f'ignore:{_NO_CCACHE}']))


def _one_line(message, category, filename, lineno, line=None):
    """Replaces `warnings.formatwarning`. Warnings for users are one line; those for programmers keep their file and line."""
    return f'warning: {message}\n' if category is UserWarning else f'{filename}:{lineno}: {category.__name__}: {message}\n'


def usable_cores():
    """Number of cores that this process may use. It is lower than that of the machine if the process is bound to some."""
    return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1


def cpu_features():
    """Lower-case names of the instruction sets of an x86 processor under Linux or Windows; empty if they are unknown."""
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
    """The value of MKL_DEBUG_CPU_TYPE for a processor: 7 selects MKL's code for AVX-512, 5 that for AVX2, '' lets MKL choose.

    On a processor without AVX-512, such as AMD's up to Zen 3, the AVX-512 code ends the process with SIGILL.
    """
    if 'avx512bw' in features:
        return '7'
    return '5' if 'avx2' in features else ''
