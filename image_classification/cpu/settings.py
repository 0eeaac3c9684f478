"""Settings of the process that make Paddle faster on a CPU, and quieter. They must be made before `import paddle`.

Measured on an AMD processor with 2 cores: small convolutions and matrix products run 3 to 10 times faster with them. Set
PADDLE_MOBILE_BACKBONES_PLAIN=1 to leave the process alone.
"""
import ctypes
import os
import platform
import sys
import warnings
from pathlib import Path

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4            # <malloc.h>


def apply():
    warnings.filterwarnings('ignore', message='No ccache found')   # said at every import, meant for who builds operators
    os.environ.setdefault('GLOG_minloglevel', '2')                 # errors only: Paddle comments on every trace
    if os.environ.get('PADDLE_MOBILE_BACKBONES_PLAIN') == '1':
        return
    # The MKL inside Paddle takes its slowest path on AMD processors unless told otherwise; ignored on Intel's.
    kind = mkl_cpu_type(cpu_features())
    if kind:
        os.environ.setdefault('MKL_DEBUG_CPU_TYPE', kind)
    if platform.libc_ver()[0] == 'glibc':
        # glibc gives the memory of every freed map back to the kernel, and faults it in again for the next one.
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
        mallopt(_M_TOP_PAD, 64 << 20)


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
