"""Settings of the process that make Paddle faster on a CPU, and quieter. They must be made before `import paddle`.

Measured on an AMD processor with 2 cores: small convolutions and matrix products run 3 to 10 times faster with them. Set
PADDLE_MOBILE_BACKBONES_PLAIN=1 to leave the process alone.
"""
import ctypes
import os
import platform
import warnings

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4            # <malloc.h>


def apply():
    warnings.filterwarnings('ignore', message='No ccache found')   # said at every import, meant for who builds operators
    os.environ.setdefault('GLOG_minloglevel', '2')                 # errors only: Paddle comments on every trace
    if os.environ.get('PADDLE_MOBILE_BACKBONES_PLAIN') == '1':
        return
    # The MKL inside Paddle takes its slowest path on AMD processors unless told otherwise; ignored on Intel's.
    if platform.machine().lower() in ('x86_64', 'amd64'):
        os.environ.setdefault('MKL_DEBUG_CPU_TYPE', '7')
    if platform.libc_ver()[0] == 'glibc':
        # glibc gives the memory of every freed map back to the kernel, and faults it in again for the next one.
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
        mallopt(_M_TOP_PAD, 64 << 20)
