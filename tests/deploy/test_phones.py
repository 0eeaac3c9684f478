"""MNN and ncnn. Of every variant: PYTHONPATH=. python -m pytest -m slow tests/deploy/test_phones.py; on real pictures:
tools/maintenance/try_phones.py"""
from importlib.util import find_spec

import numpy as np
import paddle
import pytest

import image_classification as ic
from image_classification.deploy import verify
from image_classification.deploy.engines import open_engine
from image_classification.deploy.export import PHONE, export_model
from image_classification.deploy.export_directory import LABELS, PHONE_GUIDE, ExportDirectory
from image_classification.deploy.formats import ncnn, phone
from image_classification.deploy.predictor import Predictor
from image_classification.deploy.static import Deployed
from image_classification.errors import UserError
from tests.exports import CLASSES, SIZE, children_in_process
from tests.networks import settled

from .test_all_exports import SMALLEST

HERE = [format for format in ('mnn', 'ncnn') if all(map(find_spec, PHONE[format].NEEDS))]
# pnnx names PyTorch as a need, which its program is not: pip install --no-deps pnnx
ENGINE = pytest.mark.parametrize('engine', [
    pytest.param(name, marks=pytest.mark.skipif(name not in HERE, reason=f"pip install -e '.[{name}]'"))
    for name in ('mnn', 'ncnn')])
CONTENT = {
    'name': 'net', 'versions': {'paddle_mobile_backbones': '1'}, 'class_names': CLASSES, 'calibration': {'temperature': 1.5},
    'input': {'name': 'image', 'dtype': 'float32', 'layout': 'NCHW', 'channels': 3, 'image_size': 96, 'free_size': False,
              'batch': 1},
    'output': {'kind': 'logits', 'num_classes': 5, 'names': ['logits']},
    'preprocessing': {'image_size': 96, 'crop_pct': 0.75, 'interpolation': 'bicubic', 'mean': [0.5, 0.4, 0.3],
                      'std': [0.25, 0.5, 0.125], 'channels': 3, 'color_order': 'BGR'},
    'engines': {'mnn': {'differences': {1: {'relative': 2e-6}}}}}


@pytest.fixture(scope='module')
def phones(small, tmp_path_factory):
    """An export for the engines that are here."""
    if not HERE:
        pytest.skip("pip install -e '.[mnn]'")
    directory = tmp_path_factory.mktemp('phones') / 'export'
    with children_in_process():
        assert list(export_model(small, directory, CLASSES, HERE)) == [1]
    return directory


def test_the_guide_turns_pixels_into_what_the_network_takes(tmp_path):
    guides = {PHONE[format].HEADING: PHONE[format].guide(CONTENT) for format in ('mnn', 'ncnn')}
    phone.write_phone_files(ExportDirectory(tmp_path), CONTENT, guides)
    text = (tmp_path / PHONE_GUIDE).read_text(encoding='utf-8')
    # (pixel - mean) * normal, blue first
    assert text.count('{76.5f, 102.0f, 127.5f}') == 2 and 'WINOGRAD_MEMORY_LEVEL' in text
    assert 'normal[] = {0.031372549f, 0.00784313725f, 0.0156862745f}' in text
    assert 'shorter side has 128 pixels (bicubic);\n   cut 96 x 96' in text and 'Colours in the order BGR' in text
    assert 'each divided by 1.5 before' in text and '2.0e-06 of the standard deviation' in text
    assert {'```cpp', '```kotlin'} <= set(text.splitlines()) and 'Swift' in text and 'PIXEL_RGBA2BGR' in text
    assert (tmp_path / LABELS).read_text(encoding='utf-8').splitlines() == CLASSES


def test_probabilities_and_networks_without_names_are_described_as_they_are(tmp_path):
    content = {**CONTENT, 'class_names': [], 'output': {'kind': 'probabilities', 'num_classes': 5, 'names': ['probabilities']}}
    phone.write_phone_files(ExportDirectory(tmp_path), content, {})
    text = (tmp_path / PHONE_GUIDE).read_text(encoding='utf-8')
    assert 'Probabilities, float32 (1, 5)' in text and 'The classes have no names here' in text and 'softmax' not in text
    assert not (tmp_path / LABELS).exists()


@pytest.mark.parametrize('format', ['mnn', 'ncnn'])
def test_an_engine_takes_no_pixels_and_its_export_says_so_beforehand(small, tmp_path, monkeypatch, format):
    monkeypatch.setattr(phone, 'find_spec', lambda _: True)
    with pytest.raises(UserError, match=f'--preprocess with --format {format}, .*; wanted --format {format} alone: the README.md'):
        export_model(small, tmp_path / 'export', format=format, pixels=True)


def test_a_missing_converter_is_named_with_what_installs_it(small, tmp_path, monkeypatch):
    monkeypatch.setattr(phone, 'find_spec', lambda package: package != 'pnnx')
    with pytest.raises(UserError, match=r"--format ncnn needs pnnx, which is not installed.*\[ncnn\]"):
        export_model(small, tmp_path / 'export', format='ncnn')


def test_a_layer_that_pnnx_leaves_out_is_an_error(tmp_path, monkeypatch):
    (tmp_path / 'model.onnx').touch()
    monkeypatch.setattr(ncnn, 'find_spec', lambda _: type('', (), {'submodule_search_locations': ['/nowhere']}))
    monkeypatch.setattr(ncnn.subprocess, 'run', lambda command, cwd, **_: type('', (), {
        'stdout': 'ignore GatherElements GatherElements_3 param axis=1\n', 'stderr': '', 'returncode': 0}))
    with pytest.raises(SystemExit, match='pnnx cannot convert it: ignore GatherElements'):
        ncnn.main(str(tmp_path / 'model.onnx'), tmp_path / 'param', tmp_path / 'bin')
    assert not (tmp_path / 'param').exists()


@ENGINE
def test_an_engine_gives_the_networks_logits_one_picture_after_the_other(phones, small, engine):
    images = np.random.default_rng(3).standard_normal((3, 3, SIZE, SIZE), np.float32)
    with paddle.no_grad():
        expected = Deployed(small)(paddle.to_tensor(images)).numpy()
    opened = open_engine(phones, engine, threads=1)
    assert (opened.name, opened.outputs) == (engine, ['logits'])
    np.testing.assert_allclose(opened.run(images)[0], expected, atol=1e-4 * expected.std(), rtol=0)
    with pytest.raises(UserError, match=f'whose size is fixed; wanted {SIZE} x {SIZE}'):
        opened.run(np.zeros((1, 3, 96, SIZE), np.float32))
    with pytest.raises(UserError, match=f'{engine} computes in float32 here'):
        open_engine(phones, engine, bf16=True)


@ENGINE
def test_the_directory_is_whole_and_a_predictor_runs_it(phones, pictures, engine):
    assert {LABELS, PHONE_GUIDE, 'inference.yaml', *(path.name for path in PHONE[engine].files(phones))} \
        <= {path.name for path in phones.iterdir()}
    content = ExportDirectory(phones).read()
    assert content['engines'][engine]['differences'][1]['relative'] < 1e-3 and content[engine]['converter']
    files = sorted(pictures.glob('*.png'))[:3]
    assert Predictor(phones, engine).predict(files).shape == (3, 5) and Predictor(phones, engine).class_names == CLASSES


def test_nothing_is_written_where_an_engine_differs(small, tmp_path, monkeypatch):
    if not HERE:
        pytest.skip("pip install -e '.[mnn]'")
    monkeypatch.setattr(verify, '_LOOSER', {HERE[0]: 1e-12})
    with children_in_process(), pytest.raises(UserError, match='differs from the network by .*; wanted at most 1e-12'):
        export_model(small, tmp_path / 'export', format=HERE[0])
    assert not (tmp_path / 'export').exists()


@pytest.mark.slow
@pytest.mark.parametrize('name', ic.list_models())
def test_every_variant_agrees_in_every_engine(name, tmp_path):
    if not HERE:
        pytest.skip("pip install -e '.[mnn]'")
    network = settled(ic.create_model(name))
    if hasattr(network, 'cls_token'):                              # untrained, it scores all tokens alike, and any may be kept
        network.cls_token.set_value(paddle.randn(network.cls_token.shape))
    export_model(network, tmp_path / 'export', format=HERE, image_size=SMALLEST.get(name, 96))
    found = ExportDirectory(tmp_path / 'export').read()['engines']
    assert list(found) == HERE and all(entry['differences'][1]['relative'] < 1e-3 for entry in found.values())


@pytest.mark.slow
@pytest.mark.skipif('mnn' not in HERE, reason="pip install -e '.[mnn]'")
def test_many_3x3_convolutions_are_exact_in_mnn(tmp_path):
    export_model(settled(ic.create_model('hgnet_v2_b1')), tmp_path / 'export', format='mnn', image_size=224)
    assert ExportDirectory(tmp_path / 'export').read()['engines']['mnn']['differences'][1]['relative'] < 4e-5
