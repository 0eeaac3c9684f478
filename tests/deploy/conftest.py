import numpy as np
import paddle
import pytest
from PIL import Image

import image_classification as ic
from image_classification.datasets import get_dataset
from image_classification.deploy.export import export_model
from image_classification.checkpoint import Progress
from image_classification.engine.checkpoint import save_checkpoint

CLASSES = ['cat', 'Müller, "Anna"', '数字', 'e', 'f']
SIZE = 64


class NoAverage:
    def state_dict(self):
        return {}


@pytest.fixture(scope='session')
def network():
    """MobileFormer-26M for 5 classes whose running statistics fit its weights; otherwise it would magnify rounding."""
    paddle.seed(0)
    cfg = ic.get_config('mobileformer_26m', {'MODEL.NUM_CLASSES': 5, 'DATA.IMAGE_SIZE': SIZE})
    model = ic.create_model(cfg)
    with paddle.no_grad():
        for _ in range(30):
            model(paddle.randn([8, 3, SIZE, SIZE]))
    return model


@pytest.fixture(scope='session')
def checkpoint(network, tmp_path_factory):
    path = tmp_path_factory.mktemp('run') / 'best.safetensors'
    optimizer = paddle.optimizer.SGD(parameters=network.parameters())
    scaler = paddle.amp.GradScaler(enable=False)
    save_checkpoint(path, network.config, CLASSES, Progress(epoch=1), network, NoAverage(), optimizer, scaler)
    return path


@pytest.fixture(scope='session')
def exported(network, tmp_path_factory):
    """(directory of an export of `network` that gives logits, what `export_model` returned)"""
    directory = tmp_path_factory.mktemp('exports') / 'deep' / 'export'
    return directory, export_model(network, directory, CLASSES)


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
    cfg = ic.get_config('shufflenet_v2_x0_5', {'MODEL.NUM_CLASSES': 2, 'DATA.IMAGE_SIZE': 32, 'DATA.CROP_PCT': 1.0,
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
    optimizer = paddle.optimizer.SGD(parameters=model.parameters())
    path = tmp_path_factory.mktemp('trained') / 'best.safetensors'
    save_checkpoint(path, cfg, dataset.classes, Progress(epoch=1), model, NoAverage(), optimizer,
                    paddle.amp.GradScaler(enable=False))
    return path
