"""README's recipes run as they are written, but for the pictures, the weights and the length of a training."""
import os
import re
import shlex
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import image_classification as ic
from image_classification.weights import to_torch, write_safetensors

from tests.test_readme import COMMANDS, PROJECT

RUN, PICTURES, NETWORK = 'output/RUN/best.safetensors', 'DIR', 'mobilenet_v3_small_x1_0'


def commands(*words):
    """README's commands that hold all these words."""
    found = [command for command in COMMANDS if all(word in command for word in words)]
    assert found, f'README has no command with {words}'
    return found


def run(command, folder, **replaced):
    """Run a command in `folder`, this project's files by their full paths; what it printed."""
    command = re.sub(r'(?<![\w/.])(tools|configs|image_classification)/', rf'{PROJECT}/\1/', command)
    words = shlex.split(command.replace('python ', f'{shlex.quote(sys.executable)} ', 1))
    words = [replaced.get(word, word) for word in words]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=300,
                          env={**os.environ, 'PADDLE_MOBILE_BACKBONES_OFFLINE': '1', 'CUDA_VISIBLE_DEVICES': ''})
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """A folder in which the main job was run for one step, and its best checkpoint."""
    folder = tmp_path_factory.mktemp('project')
    job = commands('mnist5k', 'venv')[0].split(' && ')[-1].replace('.venv/bin/python', 'python', 1)
    run(f'{job} -opts TRAIN.MAX_STEPS 1 EXPORT False', folder)
    (folder / 'holiday').mkdir()
    for name in ('photo.jpg', 'holiday/beach.png'):
        pixels = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / name)
    return folder, str(next(folder.glob('output/*/best.safetensors')))


def test_a_checkpoint_is_evaluated(trained):
    folder, checkpoint = trained
    assert 'top-1' in run(commands('-eval')[0], folder, **{RUN: checkpoint})


def test_a_training_is_resumed(trained):
    folder, _ = trained
    run(commands('-resume auto')[0] + ' -opts TRAIN.MAX_STEPS 2 EXPORT False', folder)


def test_pictures_are_classified(trained):
    folder, checkpoint = trained
    printed = run(commands('tools/predict.py output/RUN', 'photo.jpg')[0], folder, **{RUN: checkpoint})
    assert 'photo.jpg' in printed and 'beach.png' in printed


def test_pictures_are_explained(trained):
    folder, checkpoint = trained
    run(commands('tools/explain.py', '--output why')[0], folder, **{RUN: checkpoint})
    assert len(list((folder / 'why').glob('*.png'))) == 2


@pytest.mark.parametrize('command', commands('tools/export.py output/RUN')[:2])
def test_a_checkpoint_is_exported(trained, command, tmp_path):
    if 'onnx' in command:
        pytest.importorskip('paddle2onnx')
    folder, checkpoint = trained
    target = command.split('--output ')[1]
    run(command, folder, **{RUN: checkpoint, target: str(tmp_path / target)})
    assert (tmp_path / target / 'inference.yaml').is_file()


@pytest.mark.parametrize('command', commands('-pretrained default', '-freeze'))
def test_a_folder_is_fine_tuned(command, colours, tmp_path):
    model = ic.create_model(NETWORK)
    write_safetensors(tmp_path / 'weights.safetensors', to_torch(model), {})
    short = {'default': str(tmp_path / 'weights.safetensors'), PICTURES: str(colours), '5': '2', '64': '4', '20': '1', '30': '1'}
    more = '' if '-opts' in command else ' -opts'
    run(f'{command}{more} DATA.IMAGE_SIZE 32 DATA.NUM_WORKERS 0 TRAIN.MAX_STEPS 2 EXPORT False', tmp_path, **short)
    assert list(tmp_path.glob('output/*/best.safetensors'))
