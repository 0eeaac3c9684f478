import json

import paddle
import pytest

import image_classification as ic
from image_classification.checkpoint import write_network
from image_classification.weights import read_safetensors, read_weights, to_torch, write_safetensors
from tests.tools.conftest import load_tool

NAME = 'mobilenet_v2_x0_35'


@pytest.fixture(scope='module')
def source(tmp_path_factory):
    """(a network of four classes, a file of its weights in timm's names)"""
    paddle.seed(0)
    model = ic.create_model(NAME, num_classes=4)
    path = tmp_path_factory.mktemp('source') / 'timm.safetensors'
    write_safetensors(path, to_torch(model, 'timm'), {})
    return model, path


@pytest.mark.parametrize('ending', ['.safetensors', '.pdparams'])
def test_writes_our_names_and_says_where_the_weights_come_from(run_tool, source, tmp_path, ending):
    model, path = source
    output = tmp_path / f'out{ending}'
    done = run_tool('convert_weights.py', path, output, '--model', NAME, '--num-classes', '4')
    assert done.returncode == 0, done.stderr
    state = read_weights(output)
    assert all((state[name] == tensor.numpy()).all() for name, tensor in model.state_dict().items())
    notes = read_safetensors(output)[1] if ending == '.safetensors' else paddle.load(str(output))['__provenance__']
    assert (notes['model'], notes['source'], notes['num_classes']) == (NAME, 'timm.safetensors', '4')
    assert len(notes['source_sha256']) == 64 and json.loads(notes['protocol'])['IMAGE_SIZE'] == 224


def test_paddle_itself_loads_the_pdparams(run_tool, source, tmp_path):
    model, path = source
    assert run_tool('convert_weights.py', path, tmp_path / 'a.pdparams', '--model', NAME, '--num-classes', '4').returncode == 0
    fresh = ic.create_model(NAME, num_classes=4)
    missing, _ = fresh.set_state_dict(paddle.load(str(tmp_path / 'a.pdparams')))
    assert not missing and (fresh.classifier[1].weight == model.classifier[1].weight).all()


def test_writes_a_publishers_names_back(run_tool, source, tmp_path):
    _, path = source
    output = tmp_path / 'back.safetensors'
    done = run_tool('convert_weights.py', path, output, '--model', NAME, '--num-classes', '4', '--style', 'timm')
    assert done.returncode == 0, done.stderr
    found, wanted = read_safetensors(output)[0], read_safetensors(path)[0]
    assert found.keys() == wanted.keys() and all((found[key] == wanted[key]).all() for key in wanted)


def test_verify_prints_what_does_not_depend_on_the_format(run_tool, source, tmp_path):
    _, path = source
    lines = []
    for ending in ('safetensors', 'pdparams'):
        done = run_tool('convert_weights.py', path, tmp_path / f'v.{ending}', '--model', NAME, '--num-classes', '4', '--verify')
        lines.append(done.stdout.splitlines()[1:])
    assert lines[0] == lines[1] and lines[0][0].startswith('parameters 401,') and 'output 0   [1, 4]: mean' in lines[0][2]


def test_a_checkpoint_says_how_many_classes_it_has(source, tmp_path):
    model, _ = source
    write_network(tmp_path / 'best.safetensors', model, model.config, list('abcd'))
    load_tool('convert_weights').main([f'{NAME}={tmp_path / "best.safetensors"}', str(tmp_path / 'out.pdparams')])
    assert read_weights(tmp_path / 'out.pdparams')['classifier.1.bias'].shape == (4,)


@pytest.mark.parametrize('arguments, words', [
    (['out.npz'], "ends in '.npz'; wanted .safetensors or .pdparams"), (['taken.safetensors'], 'is not overwritten'),
    (['out.safetensors', '--model', 'mobilenet_v2_x0_5'], 'does not fit'),
    (['out.safetensors', '--num-classes', '7'], 'give its --num-classes')])
def test_what_cannot_be_converted_is_named(run_tool, source, tmp_path, arguments, words):
    (tmp_path / 'taken.safetensors').write_bytes(b'mine')
    done = run_tool('convert_weights.py', source[1], *(['--model', NAME, '--num-classes', '4'] + arguments[1:]),
                    tmp_path / arguments[0])
    assert done.returncode == 1 and words in done.stderr and 'Traceback' not in done.stderr
    assert [file.name for file in tmp_path.iterdir()] == ['taken.safetensors']
    assert (tmp_path / 'taken.safetensors').read_bytes() == b'mine'


@pytest.mark.parametrize('ending', ['.safetensors', '.pdparams'])
def test_by_force_it_replaces_what_it_has_written_and_nothing_else(run_tool, source, tmp_path, ending):
    output = tmp_path / f'out{ending}'
    arguments = ('convert_weights.py', source[1], output, '--model', NAME, '--num-classes', '4')
    assert run_tool(*arguments).returncode == 0
    done = run_tool(*arguments)
    assert done.returncode == 1 and 'or replace it with --force' in done.stderr
    done = run_tool(*arguments, '--style', 'timm', '--force')
    assert done.returncode == 0 and read_weights(output).keys() == read_weights(source[1]).keys(), done.stderr
    output.write_bytes(source[1].read_bytes())
    done = run_tool(*arguments, '--force')
    assert done.returncode == 1 and 'was not written by this command, so it is not replaced' in done.stderr
