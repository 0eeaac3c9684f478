import io

import numpy as np
import pytest

import image_classification as ic
from image_classification.cpu.paddle_internals import mended_for_paddle_lite, operators_of_older_program
from image_classification.deploy import export
from image_classification.deploy.engines import lite_process, paddle_lite
from image_classification.deploy.engines.paddle_lite import python_of_paddle_lite
from image_classification.deploy.export import export_model
from image_classification.deploy.export_directory import ExportDirectory, not_an_export
from image_classification.deploy.formats import lite
from image_classification.errors import UserError
from tests.networks import shallow

from .conftest import children_in_process


@pytest.fixture(scope='module')
def for_lite(tmp_path_factory):
    directory = tmp_path_factory.mktemp('lite') / 'export'
    with children_in_process():
        export_model(ic.create_model('mobilenet_v3_small_x0_5'), directory, format='lite', image_size=64)
    return directory


def test_the_list_names_its_source_and_both_kinds_of_operators():
    assert 'Paddle-Lite, docs/' in lite.LIST.read_text() and 'commit' in lite.LIST.read_text()
    known = lite.documented()
    assert known['conv2d'] == 'base' and known['layer_norm'] == 'extra' and 'unbind' not in known


def test_the_directory_holds_the_older_format_and_the_exact_command(for_lite):
    assert {'inference.pdmodel', 'inference.pdiparams', 'README.txt'} <= {path.name for path in for_lite.iterdir()}
    assert not not_an_export(for_lite)                             # so --force may replace it
    command = ('paddle_lite_opt --model_file=inference.pdmodel --param_file=inference.pdiparams '
               '--optimize_out_type=naive_buffer --optimize_out=inference --valid_targets=arm')
    assert command in (for_lite / 'README.txt').read_text().splitlines()
    content = ExportDirectory(for_lite).read()['lite']
    assert content == {'command': command, 'extra_operators': content['extra_operators'], 'unsupported_operators': [],
                       'converted': python_of_paddle_lite() is not None}


def test_the_page_for_a_phone_has_the_lines_that_load_it(for_lite):
    text = (for_lite / 'README.md').read_text(encoding='utf-8')
    assert 'config.set_model_from_file("inference.nb");' in text and 'input.resize(longArrayOf(1, 3, 64, 64))' in text
    assert ('not here yet' in text) == (python_of_paddle_lite() is None)


def test_the_opt_and_the_runtime_of_paddle_lite_have_agreed(for_lite):
    if python_of_paddle_lite() is None:
        pytest.skip('no Python 3.7 with paddlelite: python3.7 -m venv lite && lite/bin/pip install paddlelite numpy; '
                    'PADDLE_LITE_PYTHON=$PWD/lite/bin/python')
    assert (for_lite / 'inference.nb').is_file()
    found = ExportDirectory(for_lite).read()['engines']['paddlelite']
    assert set(found['differences']) == {1} and found['differences'][1]['relative'] < 1e-3


def test_the_python_of_paddle_lite_is_found_by_its_variable_or_in_pyenv(tmp_path, monkeypatch):
    monkeypatch.setattr(paddle_lite.shutil, 'which', lambda name: None)
    monkeypatch.delenv('PADDLE_LITE_PYTHON', raising=False)
    monkeypatch.setenv('PYENV_ROOT', str(tmp_path))
    python = tmp_path / 'versions' / '3.7.16' / 'bin' / 'python'
    python.parent.mkdir(parents=True)
    python.touch()
    assert python_of_paddle_lite() is None and not paddle_lite.PaddleLite.installed()
    (python.parents[1] / 'lib' / 'python3.7' / 'site-packages' / 'paddlelite').mkdir(parents=True)
    assert python_of_paddle_lite() == str(python)
    monkeypatch.setenv('PADDLE_LITE_PYTHON', str(tmp_path / 'python'))
    with pytest.raises(UserError, match='PADDLE_LITE_PYTHON is .*python; wanted the path of a Python 3.7 with the package'):
        python_of_paddle_lite()
    assert not paddle_lite.PaddleLite.installed()


def test_what_paddle_lite_asks_for_is_added_to_the_program():
    schema = pytest.importorskip('paddle.base.proto.framework_pb2')
    program = schema.ProgramDesc()
    block = program.blocks.add(idx=0, parent_idx=-1)
    block.ops.add(type='relu6')
    block.ops.add(type='silu')
    constant = block.ops.add(type='assign_value')
    constant.attrs.add(name='dtype', type=schema.INT, i=5)
    numbers = constant.attrs.add(name='values', type=schema.SCALARS)
    numbers.scalars.add(type=schema.Scalar.FLOAT64, r=0.5)
    numbers.scalars.add(type=schema.Scalar.LONG, i=2)
    once = mended_for_paddle_lite(program.SerializeToString())
    relu6, swish, assigned = schema.ProgramDesc.FromString(once).blocks[0].ops
    assert [(entry.name, entry.f) for entry in relu6.attrs] == [('threshold', 6.0)]
    assert swish.type == 'swish' and [(entry.name, entry.f) for entry in swish.attrs] == [('beta', 1.0)]
    assert [list(entry.floats) for entry in assigned.attrs if entry.name == 'fp32_values'] == [[0.5, 2.0]]
    assert mended_for_paddle_lite(once) == once


def test_arrays_go_to_the_other_python_and_back():
    stream, arrays = io.BytesIO(), [np.ones((1, 3, 2, 2), np.float32), np.array(7)]
    lite_process.write(stream, arrays)
    stream.seek(0)
    for array in arrays:
        np.testing.assert_array_equal(lite_process.read(stream), array)
    assert lite_process.read(stream) is None


def test_the_operators_are_those_of_the_program(for_lite):
    found = operators_of_older_program((for_lite / 'inference.pdmodel').read_bytes())
    assert {'feed', 'conv2d', 'depthwise_conv2d', 'hard_swish', 'fetch'} <= set(found)
    assert f'Operators: {", ".join(found)}.' in (for_lite / 'README.txt').read_text()


def test_an_operator_that_is_not_documented_is_an_error_unless_allowed(for_lite, monkeypatch, tmp_path):
    known = lite.documented()
    monkeypatch.setattr(lite, 'documented', lambda: {name: kind for name, kind in known.items() if name != 'hard_swish'})
    (tmp_path / 'inference.pdmodel').write_bytes((for_lite / 'inference.pdmodel').read_bytes())
    with pytest.raises(UserError, match='net uses hard_swish, which Paddle-Lite does not document .* --allow-unsupported'):
        lite.write_guide(tmp_path, 'net')
    assert lite.write_guide(tmp_path, 'net', allow_unsupported=True)['unsupported_operators'] == ['hard_swish']
    assert 'Not documented for ARM: hard_swish.' in (tmp_path / 'README.txt').read_text()


@pytest.mark.slow
@pytest.mark.parametrize('name', ['mobileformer_26m', 'edgenext_xx_small'])
def test_networks_with_attention_have_documented_operators_only(name, tmp_path, monkeypatch):
    """No einsum, no unbind. Whether the export is right, `test_all_exports` finds out for every network."""
    monkeypatch.setattr(export, 'verify', lambda *_: {
        'paddle_inference': {'outputs': ['logits'], 'differences': {1: {'absolute': 0.0, 'relative': 0.0}}}})
    export_model(shallow(name), tmp_path / 'export', format='lite', image_size=32)
    content = ExportDirectory(tmp_path / 'export').read()
    assert content['lite']['unsupported_operators'] == [] and content['input']['batch'] == 1
