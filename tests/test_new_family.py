"""A family is a directory: `toy` is added to a copy of the package, and nothing else of the copy changes.

docs/add_a_network.md lists what the directory holds. The copy runs in a process of its own, since Python has imported the package here.
"""
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import image_classification as ic

PACKAGE = Path(ic.__file__).parent
MODEL = '''
"""Two convolutions."""
import paddle.nn.functional as F
from paddle import nn

from image_classification.layers import Network


class Toy(Network):
    """(B, in_channels, H, W), normalized -> logits (B, num_classes)."""

    classifier_layers = ('head',)
    feature_strides = [2, 4]

    def __init__(self, num_classes=1000, in_channels=3, width=8):
        super().__init__()
        self.feature_channels = [width, 2 * width]
        self.stem = nn.Sequential(nn.Conv2D(in_channels, width, 3, 2, 1, bias_attr=False), nn.BatchNorm2D(width), nn.ReLU())
        self.body = nn.Sequential(nn.Conv2D(width, 2 * width, 3, 2, 1, bias_attr=False), nn.BatchNorm2D(2 * width), nn.ReLU())
        self.head = nn.Linear(2 * width, num_classes)

    def forward_intermediates(self, x):
        stem = self.stem(x)
        return [stem, self.body(stem)]

    def forward_features(self, x):
        return self.forward_intermediates(x)[-1]

    def forward_head(self, features):
        return self.head(F.adaptive_avg_pool2d(features, 1).flatten(1))

    def replace_classifier(self, num_classes):
        self.head = nn.Linear(self.head.weight.shape[0], num_classes)


def build_model(cfg):
    return Toy(cfg.MODEL.NUM_CLASSES, cfg.MODEL.IN_CHANNELS, cfg.MODEL.WIDTH)
'''
CONFIG = '''
"""Keys of the family, below MODEL."""
from yacs.config import CfgNode as CN

DEFAULTS = CN()
DEFAULTS.WIDTH = 8                        # channels of the stem
'''
YAML = 'MODEL:\n  TYPE: toy\n  NAME: toy_x2\n  WIDTH: 16\n'
# Trains, which also exports, and looks at what comes of it from Python.
SCRIPT = '''
import json, sys
from pathlib import Path
import image_classification as ic
from image_classification import explain
from image_classification.deploy import Predictor
from image_classification.engine import launch
from tests.exports import children_in_process

data, output = sys.argv[1:]
with children_in_process():
    launch.single(['-cfg', 'toy_x2', '-dataset', 'folder', '-data_path', data, '-num_classes', '2', '-image_size', '32', '-batch_size', '8',
                   '-epochs', '12', '-num_workers', '0', '-threads', '1', '-output', output, '-opts', 'TRAIN.WARMUP_EPOCHS', '0',
                   'TRAIN.BASE_LR', '0.01', 'TRAIN.COLOR_JITTER', '0', 'VALIDATE_FREQ', '12'])
run, = Path(output).iterdir()
picture = next(Path(data, 'val').glob('red*/*.png'))
features = ic.create_model('toy_x2', features_only=True, in_chans=1)
checkpoint, export = Predictor(run / 'best.safetensors'), Predictor(run / 'export')
print(json.dumps({
    'package': ic.__file__, 'listed': ic.list_models('toy*'), 'channels': features.channels, 'strides': features.strides,
    'top1': float((run / 'log.txt').read_text().split('top-1       ')[1].split()[0]),
    'checkpoint': checkpoint.top_k(checkpoint.predict(picture)[0], 1)[0], 'export': export.top_k(export.predict(picture)[0], 1)[0],
    'heat': explain.grad_cam(checkpoint.network, picture).shape}))
'''


@pytest.fixture(scope='module')
def found(colours, tmp_path_factory):
    """What the script prints, in a copy of the package with the family `toy`."""
    root = tmp_path_factory.mktemp('library')
    shutil.copytree(PACKAGE, root / PACKAGE.name)                  # with times and .pyc files: nothing is compiled again
    family = root / PACKAGE.name / 'toy'
    family.mkdir()
    for name, text in {'model.py': MODEL, 'config.py': CONFIG, 'toy_x2.yaml': YAML}.items():
        (family / name).write_text(text.lstrip())
    result = subprocess.run([sys.executable, '-c', SCRIPT, str(colours), str(root / 'output')], cwd=root, text=True, timeout=300,
                            env={**os.environ, 'PYTHONPATH': os.pathsep.join([str(root), str(PACKAGE.parent)])}, capture_output=True)
    assert result.returncode == 0, result.stderr[-3000:]
    values = json.loads(result.stdout.splitlines()[-1])
    assert Path(values['package']).parent == root / PACKAGE.name
    return values


def test_a_directory_is_enough_to_be_listed_and_built(found):
    assert found['listed'] == ['toy_x2'] and found['channels'] == [16, 32] and found['strides'] == [2, 4]


def test_the_new_family_learns(found):
    assert found['top1'] >= 90.0


def test_checkpoint_and_export_of_the_new_family_predict_the_same(found):
    assert found['checkpoint'][0] == found['export'][0] == 'red, warm'
    assert found['checkpoint'][1] == pytest.approx(found['export'][1], abs=1e-4)


def test_the_new_family_is_explained(found):
    assert len(found['heat']) == 2
