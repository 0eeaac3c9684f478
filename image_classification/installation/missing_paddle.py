"""The error for a missing PaddlePaddle, with the line that installs one."""
import os
import shutil

from image_classification.installation import pip

# The same as the extra `cpu` of setup.py; tools/maintenance/try_versions.py runs the tests with each of these minor versions.
WANTED = '>=3.1,<3.4'
NEWEST = '3.3.1'                           # newest tested version
GPU_BUILDS = 'https://www.paddlepaddle.org.cn/packages/stable/cu126/'     # for CUDA 12.6; Paddle's site lists others


class MissingPaddle(ImportError):
    """PaddlePaddle is missing or too old. The message says which line installs it; commands print it without a traceback."""

    @classmethod
    def of(cls, error):
        """The MissingPaddle for an ImportError whose name is 'paddle', including one raised by `import paddle` itself."""
        if isinstance(error, cls):
            return error
        if not isinstance(error, ModuleNotFoundError):
            return cls(f'PaddlePaddle cannot be imported: {" ".join(str(error).split())}', name='paddle')
        return cls(f'PaddlePaddle is not installed. Install it {how_to_install()}', name='paddle')


def how_to_install():
    """The line that installs PaddlePaddle: the GPU build if this machine has an NVIDIA GPU."""
    for_cpus = f"{pip()} install 'paddlepaddle{WANTED}'"
    for_gpus = f'{pip()} install paddlepaddle-gpu=={NEWEST} -i {GPU_BUILDS}'
    if has_nvidia_gpu():
        return (f'for the NVIDIA GPU of this machine by: {for_gpus} (for CUDA 12.6; the site of Paddle names the lines for '
                f'others), or for its CPUs alone by: {for_cpus}')
    return f'by: {for_cpus} (for a machine with an NVIDIA GPU: {for_gpus})'


def has_nvidia_gpu():
    """Whether NVIDIA's driver is installed, found without importing a package."""
    return os.path.exists('/proc/driver/nvidia/version') or shutil.which('nvidia-smi') is not None
