import shlex

import numpy as np
import paddle
import pytest

import image_classification as ic
from image_classification.config import argument_parser, config_from_args
from image_classification.checkpoint import Progress
from image_classification.engine.checkpoint import save_checkpoint
from image_classification.ic_resnet import dilation_pattern, read_pattern
from image_classification.weights import read_weights, write_safetensors
from tests.exports import NoAverage
from tests.tools.test_export_command import failure

DEPTHS, CLASSES = [1, 1, 1, 2], ['a', 'b', 'c']


@pytest.fixture(scope='module')
def supernet():
    """An IC-ResNet of five bottlenecks with 5 x 5 kernels."""
    paddle.seed(0)
    return ic.create_model(ic.get_config('ic_resnet50', {
        'MODEL.IC.DEPTHS': DEPTHS, 'MODEL.IC.SUPERNET_DILATION': 2, 'MODEL.NUM_CLASSES': 3, 'DATA.IMAGE_SIZE': 64}))


def save(path, network, cfg):
    save_checkpoint(path, cfg, CLASSES, Progress(epoch=1), network, NoAverage(),
                    paddle.optimizer.SGD(parameters=network.parameters()), paddle.amp.GradScaler(enable=False))
    return path


@pytest.fixture(scope='module')
def run(supernet, tmp_path_factory):
    """The directory of a run that trained it: a checkpoint and the configuration."""
    directory = tmp_path_factory.mktemp('a run')
    save(directory / 'best.safetensors', supernet, supernet.config)
    (directory / 'config.yaml').write_text(supernet.config.dump())
    return directory


@pytest.fixture(scope='module')
def searched(run, run_tool):
    """The finished process of a search with weights to inherit."""
    done = run_tool('search_dilation.py', run / 'best.safetensors', '--inherit', run / 'heir.safetensors')
    assert done.returncode == 0, done.stderr
    return done


def trained_as_printed(done):
    """The configuration of the command in the last line."""
    python, script, *flags = shlex.split(done.stdout.splitlines()[-1].removeprefix('train the found network: '))
    assert 'python' in python and script.endswith('main_multi_gpu.py')
    return config_from_args(argument_parser('').parse_args(flags))


def test_the_pattern_of_every_layer_is_written_beside_the_checkpoint(searched, supernet, run):
    blocks = [block for stage in (supernet.layer1, supernet.layer2, supernet.layer3, supernet.layer4) for block in stage]
    assert read_pattern(run / 'pattern.json') == [dilation_pattern(block.conv2.weight)[0] for block in blocks]


def test_the_table_has_a_row_per_convolution(searched):
    header, *rows = [line.split() for line in searched.stdout.splitlines()[:6]]
    assert header == 'convolution channels branches dilated kept kept undilated'.split()
    assert [row[:3] for row in rows] == [[f'layer{stage}.conv2', channels, '4'] for stage, channels in
                                         [('1.0', '64'), ('2.0', '128'), ('3.0', '256'), ('4.0', '512'), ('4.1', '512')]]
    for row in rows:                                               # random kernels: 9 of 25 taps keep about 36 %
        kept, undilated = (float(share.rstrip('%')) for share in row[4:])
        assert 34 < undilated < kept < 39


def test_the_command_that_it_prints_trains_the_found_network_from_what_it_inherits(searched, run):
    cfg = trained_as_printed(searched)
    model = ic.create_model(cfg, pretrained=cfg.PRETRAINED).eval()
    inherited = read_weights(run / 'heir.safetensors')
    assert all(np.array_equal(tensor.numpy(), inherited[name]) for name, tensor in model.state_dict().items())
    with paddle.no_grad():
        logits = model(paddle.randn([2, 3, 64, 64]))
    assert cfg.DATA.IMAGE_SIZE == 64 and logits.shape == [2, 3] and np.isfinite(logits.numpy()).all()


def test_weights_alone_are_searched_with_their_models_name(supernet, tmp_path, run_tool):
    state = {name: tensor.numpy() for name, tensor in ic.create_model('ic_resnet50', num_classes=4).state_dict().items()
             if '.conv2.' not in name}
    rng = np.random.default_rng(0)
    for stage, depth in enumerate([3, 4, 6, 3]):
        for block in range(depth):                                 # two inputs are enough for a search
            state[f'layer{stage + 1}.{block}.conv2.weight'] = rng.standard_normal((64 << stage, 2, 7, 7), np.float32)
    write_safetensors(tmp_path / 'weights.safetensors', state, {})
    done = run_tool('search_dilation.py', 'weights.safetensors', '--model', 'ic_resnet50', '--output', 'found.json',
                    '--max-dilation', 2, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    cfg = trained_as_printed(done)
    assert (cfg.MODEL.NUM_CLASSES, cfg.MODEL.IC.PATTERN, cfg.PRETRAINED) == (4, str(tmp_path / 'found.json'), '')
    pattern = read_pattern(tmp_path / 'found.json')
    assert len(pattern) == 16 and {max(h, w) for layer in pattern for h, w, _ in layer} == {1, 2}
    assert ic.create_model(cfg).layer1[0].conv2.conv_list[0].weight.shape[1:] == [64, 3, 3]


@pytest.mark.parametrize('arguments, words', [
    (['missing.safetensors'], 'no checkpoint at missing.safetensors'),
    (['{run}/best.safetensors', '--max-dilation', '4'], 'layer1.0.conv2.weight: a search up to dilation 4 is asked for'),
    (['{run}/best.safetensors', '--output', 'pattern.txt'], '--output is pattern.txt; wanted a name that ends in .json'),
    (['{run}/best.safetensors', '--inherit', 'no/w.safetensors'], 'there is no directory no'),
    (['{run}/best.safetensors', '--model', 'ic_resnet50'], 'has 5 bottlenecks; ic_resnet50 has 16'),
    (['{run}/best.safetensors', '--model', 'xception'], 'is of xception; wanted an IC-ResNet')])
def test_bad_arguments_get_one_line_and_write_nothing(arguments, words, run, run_tool, tmp_path):
    assert words in failure(run_tool('search_dilation.py', *(word.format(run=run) for word in arguments),
                                     *([] if '--output' in arguments else ['--output', 'pattern.json']), cwd=tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_of_another_network_is_refused(checkpoint, run_tool):
    assert 'is of mobilenet_v1_x0_25; wanted an IC-ResNet. Train a supernet' in failure(
        run_tool('search_dilation.py', checkpoint))


def test_a_checkpoint_of_no_supernet_is_refused(run_tool, tmp_path):
    path = save(tmp_path / 'best.safetensors', paddle.nn.Linear(2, 2), ic.get_config('ic_resnet50'))
    assert 'is no supernet: its MODEL.IC.SUPERNET_DILATION is 0. Train a supernet' in failure(
        run_tool('search_dilation.py', path))
