"""8-bit weights for phones. With the quantisers: python -m pytest -m slow tests/deploy/test_weights_int8.py"""
from importlib.util import find_spec

import pytest

from image_classification.deploy.engines import available
from image_classification.deploy.export import PHONE, export_model
from image_classification.deploy.export_directory import ExportDirectory
from image_classification.deploy.formats import weights_int8
from image_classification.deploy.formats.weights_int8 import quantize_weights
from image_classification.deploy.predictor import Predictor
from image_classification.errors import UserError
from tests.exports import CLASSES

FORMATS = {'mnn': 'mnn', 'litert': 'tflite'}


def described(directory, engine, **content):
    """A directory that looks like an export for an engine."""
    directory.mkdir()
    (directory / weights_int8.FILES[engine]).write_bytes(b'network')
    ExportDirectory(directory).write({'name': 'net', **content})
    return directory


def test_what_is_no_export_for_one_of_these_engines_is_named(tmp_path):
    with pytest.raises(UserError, match='source is quantised already; wanted an export by --format mnn or --format tflite alone'):
        quantize_weights(described(tmp_path / 'source', 'mnn', quantization={}), tmp_path / 'target', ['a.png'], [0])
    both = described(tmp_path / 'both', 'mnn')
    (both / weights_int8.FILES['litert']).write_bytes(b'network')
    with pytest.raises(UserError, match='both is for .*mnn.*; wanted an export by'):
        quantize_weights(both, tmp_path / 'target', ['a.png'], [0])
    assert not (tmp_path / 'target').exists()


@pytest.mark.parametrize('engine', FORMATS)
def test_a_missing_quantiser_is_named_with_what_installs_it(tmp_path, monkeypatch, engine):
    monkeypatch.setattr(weights_int8, 'find_spec', lambda package: None)
    extra = FORMATS[engine]
    with pytest.raises(UserError, match=rf'8-bit weights for {engine} need .*not installed.*\[{extra}\]'):
        quantize_weights(described(tmp_path / 'source', engine), tmp_path / 'target', ['a.png'], [0])


@pytest.mark.slow
@pytest.mark.parametrize('engine', [pytest.param(engine, marks=pytest.mark.skipif(
    not all(map(find_spec, PHONE[format].NEEDS)) or engine not in available(), reason=f"pip install -e '.[{format}]'"))
    for engine, format in FORMATS.items()])
def test_weights_of_8_bits_take_less_than_half_the_space_and_change_probabilities_a_little(small, pictures, tmp_path, engine):
    export_model(small, tmp_path / 'float', CLASSES, FORMATS[engine])
    files = sorted(pictures.glob('*.png'))[:4]
    before, after = quantize_weights(tmp_path / 'float', tmp_path / 'int8', files, [0] * len(files), 0.0)
    assert after['bytes'] < 0.5 * before['bytes'] and before['agreement'] == 1.0
    wanted, found = (Predictor(tmp_path / name, engine).predict(files) for name in ('float', 'int8'))
    assert 0 < abs(found - wanted).max() < 0.3                     # of an untrained network
    assert ExportDirectory(tmp_path / 'int8').read()['quantization']['weights'] == 'int8'
    with pytest.raises(UserError, match='is quantised already'):
        quantize_weights(tmp_path / 'int8', tmp_path / 'again', files, [0] * len(files))
