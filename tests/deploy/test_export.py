import re
import shutil
from types import SimpleNamespace

import numpy as np
import paddle
import pytest
import yaml
from paddle import nn

import image_classification as ic
from image_classification.datasets import Preprocess
from image_classification.deploy import child, engines, export, inference, verify
from image_classification.deploy.export import export_model
from image_classification.deploy.formats import onnx_format
from image_classification.deploy.static import Deployed
from image_classification.errors import UserError
from tests.exports import needs_onnx
from tests.networks import outline, shallow

from .conftest import CLASSES, SIZE, children_in_process

pytestmark = pytest.mark.usefixtures('quick')                      # `exported` and what crashes run in processes of their own


class Small(nn.Layer):
    """A classifier of 5 classes that is exported in a moment. `bend` spoils it."""

    def __init__(self, bend=None, in_channels=3):
        super().__init__()
        half = [0.5] * in_channels
        self.config = ic.get_config('mobileformer_26m', {
            'MODEL.NUM_CLASSES': 5, 'MODEL.IN_CHANNELS': in_channels, 'DATA.IMAGE_SIZE': 32, 'DATA.IMAGENET_MEAN': half,
            'DATA.IMAGENET_STD': half})
        self.conv = nn.Conv2D(in_channels, 8, 3, 2)
        self.drop = nn.Dropout(0.5)
        self.fc = nn.Linear(8, 5)
        self.bend = bend or (lambda logits: logits)

    def forward(self, x):
        return self.bend(self.fc(self.drop(self.conv(x).mean([2, 3]))))


class PositionedSmall(Small):
    """Its position embedding fits 32 x 32 pixels only."""

    def __init__(self):
        super().__init__()
        self.position = self.create_parameter([1, 3, 32, 32])

    def forward(self, x):
        return super().forward(x + self.position)


class ConstantNorm(Small):
    """Normalizes a parameter: oneDNN's constant folding breaks on that."""

    def __init__(self):
        super().__init__()
        self.tokens = self.create_parameter([1, 3, 5])
        self.norm = nn.LayerNorm(5)

    def forward(self, x):
        return super().forward(x) + self.norm(self.tokens).mean(1)


def bend_when_traced(logits):
    return logits if paddle.in_dynamic_mode() else logits * 1.01


def drop_one_when_traced(logits):
    return [logits, 2 * logits] if paddle.in_dynamic_mode() else [logits]


def description(directory):
    return yaml.safe_load((directory / 'inference.yaml').read_text(encoding='utf-8'))


def run(directory, images, onednn=True):
    """The only output of an export."""
    [output] = inference.run(inference.create_predictor(directory, onednn), images)
    return output


@pytest.fixture(scope='module')
def exported(small, tmp_path_factory):
    """(directory of an export of `small`, what `export_model` returned), made as users do."""
    directory = tmp_path_factory.mktemp('exports') / 'deep' / 'export'
    return directory, export_model(small, directory, CLASSES)


def test_it_reports_the_differences_at_batches_1_and_3(exported):
    directory, differences = exported
    assert list(differences) == [1, 3] and all(0 <= value < 1e-4 for value in differences.values())
    assert {batch: values['relative'] for batch, values in description(directory)['differences'].items()} == differences


def test_inference_yaml_says_all_that_a_user_of_the_export_needs(small, exported):
    content = description(exported[0])
    assert content['name'] == 'mobilenet_v1_x0_25' and content['type'] == small.config.MODEL.TYPE
    assert content['input'] == {'name': 'image', 'dtype': 'float32', 'layout': 'NCHW', 'channels': 3, 'image_size': SIZE,
                                'free_size': True}
    assert content['output'] == {'kind': 'logits', 'num_classes': 5, 'names': ['fetch_name_0']}
    assert Preprocess.from_dict(content['preprocessing']) == Preprocess.from_config(small.config)
    assert content['class_names'] == CLASSES
    assert content['versions'] == {'paddle_mobile_backbones': ic.__version__, 'paddle': paddle.__version__}
    assert content['weights'] == {'name': ''}
    assert content['model'] == yaml.safe_load(small.config.MODEL.dump())


@pytest.fixture(scope='module')
def mobileformer(tmp_path_factory):
    """(The first blocks of MobileFormer-26M, untrained, their export at 8 pixels: the last map has one, which oneDNN once read
    wrongly.)"""
    pytest.importorskip('onnx', reason="pip install -e '.[test]'")
    paddle.seed(0)
    model = shallow('mobileformer_26m', DATA__IMAGE_SIZE=8)
    directory = tmp_path_factory.mktemp('mobileformer') / 'export'
    with children_in_process():
        export_model(model, directory, format='paddle,onnx')
    return model, directory


def test_a_network_of_many_small_operators_leaves_convolutions_alone_to_onednn(mobileformer, tmp_path):
    content = description(mobileformer[1])
    assert content['input']['free_size'] and content['engines']['paddle_inference']['onednn'] == 'convolutions'
    paddle.seed(0)
    export_model(Small(), tmp_path / 'export')
    assert 'onednn' not in description(tmp_path / 'export')['engines']['paddle_inference']


def test_only_paddles_own_graph_has_products_for_pointwise_convolutions(mobileformer):
    import onnx
    program = (mobileformer[1] / 'inference.json').read_text()
    graph = onnx.load(mobileformer[1] / 'inference.onnx').graph
    layers = [layer for layer in mobileformer[0].sublayers() if isinstance(layer, nn.Conv2D)]
    pointwise = [layer for layer in layers if layer.weight.shape[2:] == [1, 1]]
    found = program.count('"1.conv2d"') + program.count('"1.depthwise_conv2d"')
    assert found == len(layers) - len(pointwise) + 2               # those of the lite bottleneck stand between others
    assert sum(node.op_type == 'Conv' for node in graph.node) == len(layers)


def test_onnx_keeps_the_norms_of_dynamic_relus_alone(mobileformer):
    import onnx
    graph = onnx.load(mobileformer[1] / 'inference.onnx').graph
    weights = {value.name for value in graph.initializer}
    norms = [node for node in graph.node if node.op_type == 'BatchNormalization']
    assert norms and not any(node.input[1] in weights for node in norms)


def test_a_network_that_magnifies_rounding_is_exported(tmp_path):
    """By as much as the network itself is wrong in float32."""
    export_model(Small(bend=lambda logits: logits + 3000 - 3000), tmp_path / 'export')
    assert description(tmp_path / 'export')['input']['free_size']


def test_an_export_holds_three_files_and_nothing_stays_beside_it(exported):
    assert sorted(path.name for path in exported[0].iterdir()) == ['inference.json', 'inference.pdiparams', 'inference.yaml']
    assert [path.name for path in exported[0].parent.iterdir()] == ['export']
    assert [path.name for path in exported[0].parent.parent.iterdir()] == ['deep']


def test_an_empty_directory_is_used_and_stays_as_readable_as_any(tmp_path):
    (tmp_path / 'export').mkdir()
    export_model(Small(), tmp_path / 'export')
    (tmp_path / 'plain').mkdir()
    assert (tmp_path / 'export').stat().st_mode == (tmp_path / 'plain').stat().st_mode


def test_the_callers_network_stays_as_it_was(tmp_path):
    model = Small()
    model.conv.eval()
    state = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    attributes = [set(vars(layer)) for layer in model.sublayers(include_self=True)]
    export_model(model, tmp_path / 'export')
    assert (model.training, model.conv.training, model.drop.training) == (True, False, True)
    assert [set(vars(layer)) for layer in model.sublayers(include_self=True)] == attributes    # tracing replaces `forward`
    assert all((tensor.numpy() == state[name]).all() for name, tensor in model.state_dict().items())
    assert not any('forward' in vars(layer) for layer in model.sublayers(include_self=True))


def test_softmax_makes_it_give_probabilities(tmp_path):
    export_model(Small(), tmp_path / 'export', softmax=True)
    output = run(tmp_path / 'export', np.ones((2, 3, 32, 32), np.float32))
    np.testing.assert_allclose(output.sum(1), 1, rtol=1e-5)
    assert description(tmp_path / 'export')['output']['kind'] == 'probabilities'


def test_the_image_size_can_be_chosen(tmp_path):
    export_model(Small(), tmp_path / 'export', image_size=48)
    content = description(tmp_path / 'export')
    assert content['input']['image_size'] == content['preprocessing']['image_size'] == 48


def test_grey_networks_take_one_channel(tmp_path):
    export_model(Small(in_channels=1), tmp_path / 'export')
    assert run(tmp_path / 'export', np.ones((2, 1, 32, 32), np.float32)).shape == (2, 5)
    assert description(tmp_path / 'export')['preprocessing']['mean'] == [0.5]


def test_a_network_of_one_size_is_exported_for_that_size(tmp_path):
    export_model(PositionedSmall(), tmp_path / 'export')
    assert description(tmp_path / 'export')['input']['free_size'] is False
    assert run(tmp_path / 'export', np.ones((4, 3, 32, 32), np.float32)).shape == (4, 5)


def test_an_untrained_classifier_of_zeros_is_exported(tmp_path):
    model = Small(bend=lambda logits: logits * 0)
    assert export_model(model, tmp_path / 'export') == {1: 0.0, 3: 0.0}


def test_a_new_classifier_counts_as_the_networks_own(tmp_path):
    model = Small()
    model.fc = nn.Linear(8, 3)
    export_model(model, tmp_path / 'export', ['a', 'b', 'c'])
    content = description(tmp_path / 'export')
    assert content['output']['num_classes'] == content['model']['NUM_CLASSES'] == 3


def test_pdmodel_is_the_older_format_of_the_same_network(small, tmp_path):
    differences = export_model(small, tmp_path / 'export', CLASSES, format='pdmodel')
    assert max(differences.values()) < 1e-4
    assert not (tmp_path / 'export' / 'inference.json').exists() and (tmp_path / 'export' / 'inference.pdmodel').is_file()
    images = np.random.default_rng(7).standard_normal((2, 3, 96, 64), np.float32)
    with paddle.no_grad():
        expected = Deployed(small)(paddle.to_tensor(images)).numpy()
    np.testing.assert_allclose(run(tmp_path / 'export', images), expected, atol=1e-4 * expected.std(), rtol=0)


def test_an_existing_export_is_never_overwritten(tmp_path):
    (tmp_path / 'export').mkdir()
    (tmp_path / 'export' / 'mine.txt').write_text('mine')
    with pytest.raises(UserError, match='not empty; an export never overwrites'):
        export_model(Small(), tmp_path / 'export')
    assert [path.name for path in (tmp_path / 'export').iterdir()] == ['mine.txt']


@pytest.mark.parametrize('model, words', [
    (lambda: Small(bend=bend_when_traced), 'differs from the network by .* of its output'),
    (lambda: Small(bend=lambda logits: logits * float("inf") * 0), 'gives NaN or infinite numbers: its weights are spoilt'),
    (lambda: Small(bend=lambda logits: {'logits': logits}), 'gives a dict; wanted one tensor or a list of tensors'),
    (lambda: Small(bend=lambda logits: [logits, None]), 'gives a list with something else; wanted one tensor or a list'),
    (lambda: Small(bend=drop_one_when_traced), 'gives 1 outputs, the network 2'),
    (lambda: Small(bend=lambda logits: [logits, bend_when_traced(logits)]), r'differs from the network by .*\(fetch_name_1, '),
])
def test_what_fails_leaves_nothing_behind(tmp_path, model, words):
    with pytest.raises(UserError, match=words):
        export_model(model(), tmp_path / 'deep' / 'export')
    assert not any(tmp_path.iterdir())


def test_an_onnx_file_that_differs_is_named_with_its_engine(tmp_path):
    pytest.importorskip('paddle2onnx', reason="pip install -e '.[test]'")
    with pytest.raises(UserError, match='differs from the network by .*, ONNX Runtime'):
        export_model(Small(bend=bend_when_traced), tmp_path / 'export', format='onnx')
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize('problem, attempts', [
    (verify.Failure('it differs'), [True, False]), (UserError('not documented'), [True]), (OSError(28, 'No space left'), [True])])
def test_a_fixed_size_is_tried_only_where_the_size_may_be_the_reason(tmp_path, monkeypatch, problem, attempts):
    found = []

    def write(order, directory, free, sizes):
        found.append(free)
        raise problem
    monkeypatch.setattr(export, '_write', write)
    with pytest.raises(UserError, match=problem.strerror if isinstance(problem, OSError) else str(problem)):
        export_model(Small(), tmp_path / 'export')
    assert found == attempts and not any(tmp_path.iterdir())


@needs_onnx
def test_a_converter_that_fails_is_named_with_its_reason(tmp_path, monkeypatch):
    monkeypatch.setattr(export, 'run_child', lambda module, *_, **__: f'{module} fell over')
    for format, kind, module in (('onnx', 'ONNX', 'onnx_format'), ('pdmodel', '.pdmodel', 'pdmodel')):
        with pytest.raises(UserError, match=f'mobileformer_26m cannot be written as {kind}: formats.{module} fell over'):
            export_model(Small(), tmp_path / 'export', format=format)


@pytest.mark.parametrize('problem, free, words', [
    (OSError(28, 'No space left on device'), None, 'No space left on device'),
    (OSError(30, 'Read-only file system'), None, 'Read-only file system'),
    (RuntimeError('basic_ios::clear: iostream error'), 0, 'No space left on device'),
    (RuntimeError('basic_ios::clear: iostream error'), None, r'a file could not be written \(.*\); is the disk full'),
    (RuntimeError('any other words'), 0, 'No space left on device')])
def test_a_full_disk_is_no_fault_of_the_network(tmp_path, monkeypatch, problem, free, words):
    attempts = []

    def save(*_):
        attempts.append(1)
        raise problem
    monkeypatch.setattr(paddle.jit, 'save', save)
    if free is not None:
        monkeypatch.setattr(shutil, 'disk_usage', lambda path: SimpleNamespace(free=free))
    with pytest.raises(UserError, match=f'cannot write the export .*: {words}.*Choose another directory'):
        export_model(Small(), tmp_path / 'export')
    assert len(attempts) == 1 and not any(tmp_path.iterdir())


@needs_onnx
def test_a_full_disk_of_a_converter_is_told_from_a_fault_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setattr(export, 'run_child', lambda *_, **__: 'OSError: [Errno 28] No space left on device')
    for format in ('onnx', 'pdmodel'):
        with pytest.raises(UserError, match='^cannot write the export .*: No space left on device'):
            export_model(Small(), tmp_path / 'export', format=format)


def tiny_light():
    """UniFormer-Light of few blocks, on a map of one pixel, of which it prunes all tokens: oneDNN takes no empty tensors."""
    return ic.create_model(ic.get_config('uniformer_xxs', {
        'MODEL.UNIFORMER.DEPTHS': [1, 1, 1, 1], 'MODEL.NUM_CLASSES': 5, 'DATA.IMAGE_SIZE': 32}))


@pytest.mark.parametrize('model, words', [(ConstantNorm, 'fails on the exported ConstantNorm: .*holds no memory'),
                                          pytest.param(tiny_light, 'fails on the exported UniFormerLight: ', marks=pytest.mark.slow)])
def test_where_onednn_goes_wrong_the_export_says_so_and_runs_with_it_for_convolutions_only(tmp_path, monkeypatch, model, words):
    """Both: python -m pytest -m 'slow or not slow' tests/deploy/test_export.py"""
    monkeypatch.setattr(verify, 'run_child', child.run_child)      # it may end the process
    network, images = model(), paddle.randn([2, 3, 32, 32])
    network.eval()
    export_model(network, tmp_path / 'export')
    found = description(tmp_path / 'export')['engines']['paddle_inference']
    assert found['onednn'] == 'convolutions' and re.search(f'Paddle Inference with oneDNN {words}', found['onednn_problem'])
    assert found['differences'][3]['relative'] < 1e-4
    np.testing.assert_allclose(run(tmp_path / 'export', images.numpy(), None), network(images).numpy(), atol=1e-5)


def test_a_network_says_why_engines_may_differ(tmp_path, monkeypatch):
    def refuse(*_):
        raise verify.Failure('it differs')
    monkeypatch.setattr(verify, '_compare', refuse)
    network = Small()
    network.engines_may_differ = 'All score alike'
    with pytest.raises(UserError, match='^it differs. All score alike$'):
        export_model(network, tmp_path / 'export')


@needs_onnx
def test_a_wrong_number_of_onednn_is_told_from_one_of_the_export(tmp_path, monkeypatch):
    def compare(kind, expected, outputs, tolerances, where):
        if 'with oneDNN' in where:
            raise verify.Failure(f'it differs at {where}')
        return compare_all(kind, expected, outputs, tolerances, where)
    compare_all = verify._compare
    monkeypatch.setattr(verify, '_compare', compare)
    export_model(Small(), tmp_path / 'export', format='onnx,paddle')
    engines = description(tmp_path / 'export')['engines']
    paddles, onnxruntimes = engines['paddle_inference'], engines['onnxruntime']
    assert paddles['onednn'] is False and paddles['onednn_problem'].startswith('it differs')
    assert 'onednn' not in onnxruntimes and set(onnxruntimes['differences']) == {1, 3}


@pytest.mark.parametrize('arguments, words', [
    ({'format': 'caffe'}, "format is 'caffe'; wanted one of paddle, pdmodel, onnx, openvino"),
    ({'format': 'paddle,pdmodel'}, 'formats are paddle, pdmodel; wanted .* only one of paddle, pdmodel'),
    ({'class_names': ['a', 'b']}, '2 class names for a network of 5 classes'),
    *(({'image_size': size}, 'image_size is .*; wanted a whole number from 1 to 4096')
      for size in (0, -1, 100_000, '64', 2.5, True)),
    ({'format': 5}, 'export format is 5; wanted one of paddle'), ({'format': None}, 'export format is None'),
    ({'class_names': 'abcde'}, "class_names is 'abcde'; wanted a list of names"),
    ({'model': nn.Linear(1, 1)}, 'export_model got a Linear; wanted a network of create_model'),
])
def test_arguments_that_do_not_fit_are_refused(tmp_path, arguments, words):
    with pytest.raises(UserError, match=words):
        export_model(**{'model': Small(), 'directory': tmp_path / 'export', **arguments})
    assert not any(tmp_path.iterdir())


def test_a_file_in_the_way_is_refused(tmp_path):
    (tmp_path / 'export').write_text('a file')
    with pytest.raises(UserError, match='is a file; wanted a directory'):
        export_model(Small(), tmp_path / 'export')
    with pytest.raises(UserError, match='cannot write the export'):
        export_model(Small(), tmp_path / 'export' / 'below')


@pytest.fixture(scope='module')
def extractor():
    return ic.create_model('mobilenet_v3_small_x0_5', features_only=True, out_indices=(1, 2, -1), num_classes=5)


def eager(model, images):
    with paddle.no_grad():
        return [output.numpy() for output in Deployed(model)(paddle.to_tensor(images))]


@pytest.fixture(scope='module')
def exported_maps(extractor, tmp_path_factory):
    directory = tmp_path_factory.mktemp('maps') / 'export'
    with children_in_process():
        assert export_model(extractor, directory, image_size=64).keys() == {1, 3}
    return directory


def check_maps(extractor, directory):
    """Of two sizes."""
    for shape in ((2, 3, 64, 64), (1, 3, 96, 160)):
        images = np.random.default_rng(7).standard_normal(shape, np.float32)
        maps, expected = inference.run(inference.create_predictor(directory), images), eager(extractor, images)
        assert [m.shape for m in maps] == [m.shape for m in expected]
        for found, wanted in zip(maps, expected):
            np.testing.assert_allclose(found, wanted, atol=1e-4 * wanted.std(), rtol=0)


def test_feature_maps_are_exported_in_the_networks_order(extractor, exported_maps):
    check_maps(extractor, exported_maps)


@pytest.mark.slow
def test_feature_maps_of_a_network_with_a_new_classifier_are_written_in_the_older_format_too(tmp_path):
    model = ic.create_model('mobilenet_v3_small_x0_5', features_only=True, out_indices=(1, 2, -1))
    model.network.reset_classifier(7)
    export_model(model, tmp_path / 'export', format='pdmodel', image_size=64)
    assert description(tmp_path / 'export')['model']['NUM_CLASSES'] == 7
    check_maps(model, tmp_path / 'export')


def test_inference_yaml_says_what_a_detectors_neck_must_know(extractor, exported_maps):
    content = description(exported_maps)
    assert content['output'] == {
        'kind': 'maps', 'channels': list(extractor.channels), 'strides': [4, 8, 32],
        'shapes': [[-1, 8, 16, 16], [-1, 16, 8, 8], [-1, 48, 2, 2]], 'names': ['fetch_name_0', 'fetch_name_1', 'fetch_name_2']}
    assert content['name'] == 'mobilenet_v3_small_x0_5' and content['model']['NUM_CLASSES'] == 5


def test_an_export_of_feature_maps_leaves_out_the_layers_behind_them(exported_maps):
    whole = sum(4 * tensor.size for tensor in outline('mobilenet_v3_small_x0_5').state_dict().values())
    assert (exported_maps / 'inference.pdiparams').stat().st_size < whole / 2


@pytest.mark.slow
def test_a_detectors_tensors_are_exported_in_any_format(tmp_path):
    formats = ['paddle'] if onnx_format.missing('onnx') else ['paddle', 'onnx']
    model = ic.create_model('blazeface_front')
    export_model(model, tmp_path / 'export', format=formats)
    output = description(tmp_path / 'export')['output']
    assert output.pop('names') == inference.create_predictor(tmp_path / 'export').get_output_names()
    assert output == {'kind': 'tensors', 'shapes': [[-1, 896, 16], [-1, 896, 1]]}
    for engine in engines.engines_of(tmp_path / 'export'):
        found = engines.open_engine(tmp_path / 'export', engine).run(np.zeros((2, 3, 128, 128), np.float32))
        assert [output.shape for output in found] == [(2, 896, 16), (2, 896, 1)]


def test_detector_backbones_export_their_maps_without_being_asked(tmp_path):
    model = ic.create_model('blazeface')
    export_model(model, tmp_path / 'export', image_size=128)
    content = description(tmp_path / 'export')
    assert content['input']['free_size']
    assert content['output']['strides'] == [8, 16] and content['output']['channels'] == list(model.feature_channels)


@pytest.mark.parametrize('arguments, words', [({'softmax': True}, 'softmax for feature maps'),
                                              ({'class_names': ['a', 'b']}, 'class names for feature maps')])
def test_what_belongs_to_logits_is_refused_for_feature_maps(extractor, tmp_path, arguments, words):
    for model in (extractor, ic.create_model('blazeface_front')):
        with pytest.raises(UserError, match=words):
            export_model(model, tmp_path / 'export', image_size=128, **arguments)
    assert not any(tmp_path.iterdir())
