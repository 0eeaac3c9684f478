"""Networks and their exports that take seconds to make: once per process, for all tests of exports and of what uses them."""
import contextlib
from importlib import import_module
from importlib.util import find_spec

import numpy as np
import paddle
import pytest
from PIL import Image

import image_classification as ic
from image_classification.datasets import get_dataset
from image_classification.deploy import export, verify
from image_classification.deploy.child import reason, run_child
from image_classification.deploy.export import export_model
from image_classification.checkpoint import Progress
from image_classification.engine.checkpoint import save_checkpoint

CLASSES = ['cat', 'Müller, "Anna"', '数字', 'e', 'f']
SIZE = 64
HAS_ONNX = bool(find_spec('paddle2onnx'))                           # there is none for Python 3.13 yet
# Engines whose exports are free in batch and size.
FOR_COMPUTERS = ('paddle_inference', 'onnxruntime', 'openvino') if HAS_ONNX else ('paddle_inference',)
needs_onnx = pytest.mark.skipif(not HAS_ONNX, reason='there is no paddle2onnx for Python 3.13')


class NoAverage:
    def state_dict(self):
        return {}


def _run_here(module, *arguments, **environment):
    """As `run_child`, but in this process."""
    if module == 'formats.pdmodel':                                # Paddle chooses its kind of programs once per process
        return run_child(module, *arguments, **environment)
    try:
        import_module(f'image_classification.deploy.{module}').main(*arguments)
    except (Exception, SystemExit) as error:
        return reason(f'{type(error).__name__}: {error}')


@contextlib.contextmanager
def children_in_process():
    """Exports start no further Python, which takes most of their time. The tests of these programs themselves do without."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(verify, 'run_child', _run_here)
        patch.setattr(export, 'run_child', _run_here)
        yield


def with_statistics(name):
    """A network for 5 classes whose running statistics fit its weights; otherwise it would magnify rounding."""
    paddle.seed(0)
    model = ic.create_model(ic.get_config(name, {'MODEL.NUM_CLASSES': 5, 'DATA.IMAGE_SIZE': SIZE}))
    with paddle.no_grad():
        for _ in range(30):
            model(paddle.randn([8, 3, SIZE, SIZE]))
    return model


def save(model, classes, path):
    optimizer = paddle.optimizer.SGD(parameters=model.parameters())
    save_checkpoint(path, model.config, classes, Progress(epoch=1), model, NoAverage(), optimizer,
                    paddle.amp.GradScaler(enable=False))
    return path


@pytest.fixture(scope='session')
def small():
    """The network that is exported fastest."""
    return with_statistics('mobilenet_v1_x0_25')


@pytest.fixture(scope='session')
def small_checkpoint(small, tmp_path_factory):
    return save(small, CLASSES, tmp_path_factory.mktemp('small') / 'best.safetensors')


@pytest.fixture(scope='session')
def small_exports(small, tmp_path_factory):
    """{name: directory} of exports of `small`: 'paddle', for Paddle Inference alone; 'float32', for every engine that this
    Python has; 'uint8' too, with preprocessing and softmax inside, but without class names."""
    root = tmp_path_factory.mktemp('small')
    with children_in_process():
        export_model(small, root / 'paddle', CLASSES)
        formats = ['paddle', 'onnx', 'openvino'] if HAS_ONNX else ['paddle']
        export_model(small, root / 'float32', CLASSES, formats)
        export_model(small, root / 'uint8', format=formats, softmax=True, pixels=True)
    return {path.name: path for path in root.iterdir()}


@pytest.fixture(scope='session')
def pictures(tmp_path_factory):
    """12 readable pictures of several sizes and modes, named so that only natural order counts them rightly."""
    root = tmp_path_factory.mktemp('pictures')
    rng = np.random.default_rng(0)
    for i in range(12):
        pixels = rng.integers(0, 256, (40 + i, 60, 3), dtype=np.uint8)
        Image.fromarray(pixels).convert('RGB' if i % 2 else 'L').save(root / f'picture {i}.png')
    return root


@pytest.fixture(scope='session')
def trained(colours, tmp_path_factory):
    """The checkpoint of a small network that tells the red from the blue pictures of `colours`: random, but for its classifier,
    which is fitted."""
    paddle.seed(0)
    cfg = ic.get_config('shufflenet_v2_x0_5', {'MODEL.NUM_CLASSES': 2, 'MODEL.SHUFFLENET.REPEATS': [1, 1, 1],
                                               'DATA.IMAGE_SIZE': 32, 'DATA.CROP_PCT': 1.0,
                                               'DATA.DATASET': 'folder', 'DATA.DATA_PATH': str(colours)})
    model, dataset, rng = ic.create_model(cfg), get_dataset(cfg, is_train=True), np.random.default_rng(0)
    given = []
    model.fc.register_forward_pre_hook(lambda layer, inputs: given.append(inputs[0].numpy()))
    labels = np.arange(32) % 2
    model.train()
    with paddle.no_grad():
        for _ in range(40):                                        # for the running statistics
            pixels = rng.integers(0, 120, (32, 40, 48, 3), dtype=np.uint8)
            red, blue = 0, 2                                       # in the order of the names: 'bläu', 'red, warm'
            pixels[range(32), :, :, np.where(labels == 1, red, blue)] += 120
            model(paddle.to_tensor(np.stack([dataset.preprocess(Image.fromarray(picture)) for picture in pixels])))
        model.eval()
        known = [dataset, get_dataset(cfg, is_train=False)]
        labels = np.concatenate([part.labels for part in known])
        model(paddle.to_tensor(np.stack([part.preprocess(part.image(i)) for part in known for i in range(len(part))])))
        centre = given[-1].mean(0)
        features = given[-1] - centre
        similar = features @ features.T                            # ridge regression: logits of about -4 and 4
        ridge = 0.02 * similar.trace() / len(labels) * np.eye(len(labels))
        across = features.T @ np.linalg.solve(similar + ridge, 8.0 * labels - 4)
        model.fc.weight.set_value(np.stack([-across, across], 1).astype(np.float32))
        model.fc.bias.set_value(np.float32([1, -1]) * np.float32(across @ centre))
    return save(model, dataset.classes, tmp_path_factory.mktemp('trained') / 'best.safetensors')
