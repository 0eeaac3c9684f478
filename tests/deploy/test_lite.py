import pytest

import image_classification as ic
from image_classification.cpu.paddle_internals import operators_of_older_program
from image_classification.deploy import export
from image_classification.deploy.export import export_model
from image_classification.deploy.export_directory import ExportDirectory
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
    command = ('paddle_lite_opt --model_file=inference.pdmodel --param_file=inference.pdiparams '
               '--optimize_out_type=naive_buffer --optimize_out=inference --valid_targets=arm')
    assert command in (for_lite / 'README.txt').read_text().splitlines()
    content = ExportDirectory(for_lite).read()['lite']
    assert content == {'command': command, 'extra_operators': content['extra_operators'], 'unsupported_operators': []}


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
    monkeypatch.setattr(export, 'verify', lambda *_: {'paddle_inference': {'outputs': ['logits'], 'differences': {}}})
    export_model(shallow(name), tmp_path / 'export', format='lite', image_size=32)
    content = ExportDirectory(tmp_path / 'export').read()
    assert content['lite']['unsupported_operators'] == [] and content['input']['free_size']
