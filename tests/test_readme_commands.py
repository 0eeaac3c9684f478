"""The recipes of README and of the guide run as they are written, but for the pictures, the weights and the length of a training."""
import re
import shlex
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import image_classification as ic
from image_classification import datasets
from image_classification.engine import launch
from image_classification.weights import to_torch, write_safetensors

from tests.networks import FEWER_BLOCKS
from tests.test_readme import COMMANDS, PROJECT
from tests.deploy.conftest import quick  # noqa: F401  (fixture)
from tests.tools.conftest import run_module, run_tool  # noqa: F401  (fixture)

RUN, PICTURES, NETWORK = 'output/RUN/best.safetensors', 'DIR', 'mobilenet_v3_small_x1_0'
QUICK = ' '.join(shlex.quote(f'{word}') for word in (
    'EXPORT', False, 'DATA.IMAGE_SIZE', 32, 'TRAIN.PRECISE_BN', False, *(word for pair in FEWER_BLOCKS['mobileformer_26m'].items() for word in pair)))


def commands(*words):
    """The commands that hold all these words."""
    found = [command for command in COMMANDS if all(word in command for word in words)]
    assert found, f'README and the guide have no command with {words}'
    return found


def few_digits(cfg, is_train, channels):
    """As mnist5k, each twentieth."""
    found = datasets.arrays.mnist5k(cfg, is_train, channels)
    found.images, found.labels = found.images[::20], found.labels[::20]
    return found


def run(command, folder, **replaced):
    """Run a command of main_single_gpu.py in `folder`, this project's files by their full paths; what it printed."""
    command = re.sub(r'(?<![\w/.])(configs)/', rf'{PROJECT}/\1/', command)
    python, launcher, *words = shlex.split(command)
    assert python == 'python' and launcher == 'image_classification/main_single_gpu.py'
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('PADDLE_MOBILE_BACKBONES_OFFLINE', '1')
        patch.setitem(datasets.DATASETS, 'mnist5k', few_digits)
        done = run_module(SimpleNamespace(main=launch.single, __name__=launcher), [replaced.get(word, word) for word in words],
                          cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope='module')
def main_job(tmp_path_factory):
    """A folder in which the main job was run for one step, and its best checkpoint."""
    folder = tmp_path_factory.mktemp('project')
    job = commands('mnist5k', 'venv')[0].split(' && ')[-1].replace('.venv/bin/python', 'python', 1)
    run(f'{job} -opts TRAIN.MAX_STEPS 1 {QUICK}', folder)
    return folder, str(next(folder.glob('output/*/best.safetensors')))


@pytest.fixture
def photos(tmp_path):
    """A folder with the pictures that README names."""
    (tmp_path / 'holiday').mkdir()
    for name in ('photo.jpg', 'holiday/beach.png'):
        pixels = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / name)
    return tmp_path


@pytest.fixture
def use(run_tool):  # noqa: F811
    """use(command, folder, **replaced): what a command of a tool prints, with the checkpoint of a small network."""
    def call(command, folder, **replaced):
        python, tool, *words = shlex.split(command)
        done = run_tool(tool.removeprefix('tools/'), *(replaced.get(word, word) for word in words), cwd=folder)
        assert python == 'python' and done.returncode == 0, done.stderr
        return done.stdout + done.stderr
    return call


def test_a_checkpoint_is_evaluated(main_job):
    folder, checkpoint = main_job
    command, = (line for line in commands('-eval', 'main_single') if PICTURES not in line)
    assert 'top-1' in run(command, folder, **{RUN: checkpoint})


def test_a_checkpoint_is_evaluated_on_a_folder(trained, colours, tmp_path):
    command, = commands('-eval', f'-data_path {PICTURES}')
    assert 'top-1' in run(command, tmp_path, **{RUN: str(trained), PICTURES: str(colours)})


def test_a_training_is_resumed(main_job):
    folder, _ = main_job
    run(commands('-resume auto')[0] + f' -opts TRAIN.MAX_STEPS 2 {QUICK}', folder)


def test_pictures_are_classified(use, trained, photos):
    printed = use(commands('tools/predict.py output/RUN', 'photo.jpg')[0], photos, **{RUN: trained})
    assert 'photo.jpg' in printed and 'beach.png' in printed


def test_pictures_are_explained(use, trained, photos):
    use(commands('tools/explain.py', '--output why')[0], photos, **{RUN: trained})
    assert len(list((photos / 'why').glob('*.png'))) == 2


@pytest.mark.parametrize('command', commands('tools/export.py output/RUN')[:2])
def test_a_checkpoint_is_exported(use, quick, trained, command, tmp_path):  # noqa: F811
    if 'onnx' in command:
        pytest.importorskip('paddle2onnx')
    target = command.split('--output ')[1]
    use(command, tmp_path, **{RUN: trained, target: tmp_path / target})
    assert (tmp_path / target / 'inference.yaml').is_file()


FOLDER = 'DATA.IMAGE_SIZE 32 DATA.BATCH_SIZE 4 DATA.NUM_WORKERS 0 TRAIN.MAX_STEPS 2 EXPORT False TRAIN.PRECISE_BN False'


@pytest.mark.parametrize('command', commands('-pretrained default', '-data_path DIR'))
def test_a_folder_is_fine_tuned(command, colours, tmp_path):
    model = ic.create_model(NETWORK)
    write_safetensors(tmp_path / 'weights.safetensors', to_torch(model), {})
    short = {'default': str(tmp_path / 'weights.safetensors'), PICTURES: str(colours)}
    more = '' if '-opts' in command else ' -opts'
    assert 'folder_finetune.yaml' in run(f'{command}{more} {FOLDER}', tmp_path, **short)
    assert list(tmp_path.glob('output/*/best.safetensors'))


def test_a_folder_is_learned_from_scratch(colours, tmp_path):
    command, = (line for line in commands('-data_path DIR') if 'pretrained' not in line and 'main_single' in line)
    assert 'folder_scratch.yaml' in run(f'{command} -opts {FOLDER} {QUICK}', tmp_path, **{PICTURES: str(colours)})
