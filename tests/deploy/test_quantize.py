import numpy as np
import onnxruntime
import pytest
import yaml

from image_classification.datasets import get_dataset
from image_classification.deploy import quantize
from image_classification.deploy.formats import onnx_int8
from image_classification.deploy.export import export_model
from image_classification.deploy.formats.onnx_int8 import OPERATORS, quantize_onnx, sums_overflow
from image_classification.deploy.engines.onnxruntime import open_session, session_options
from image_classification.deploy.layer_losses import layer_losses
from image_classification.deploy.predictor import Predictor
from image_classification.deploy.quantize import quantize_export
from image_classification.checkpoint import load_network
from image_classification.errors import UserError
from image_classification.files import new_directory

from .conftest import children_in_process

onnx = pytest.importorskip('onnx', reason='its release that paddle2onnx needs is for Python below 3.13')
TensorProto, helper, numpy_helper = onnx.TensorProto, onnx.helper, onnx.numpy_helper


@pytest.fixture(scope='module')
def source(trained, tmp_path_factory):
    """An ONNX export of the trained network."""
    directory, (network, class_names) = tmp_path_factory.mktemp('float') / 'export', load_network(trained)
    with children_in_process():
        export_model(network, directory, class_names, 'onnx')
    return directory


@pytest.fixture(scope='module')
def data(trained):
    """(pictures to calibrate with, pictures to compare with, their labels)"""
    cfg = load_network(trained)[0].config
    training, test = get_dataset(cfg, True), get_dataset(cfg, False)
    return [training.image(i) for i in range(len(training))], [test.image(i) for i in range(len(test))], test.labels


@pytest.fixture(scope='module')
def result(source, data, tmp_path_factory):
    """(directory of the quantised export, what `quantize_export` returned)"""
    target = tmp_path_factory.mktemp('int8') / 'deep' / 'export'
    return target, quantize_export(source, target, *data, threads=1, min_agreement=0.9)


def test_a_quantised_export_answers_nearly_as_before_and_is_much_smaller(source, result, data):
    before, after = Predictor(source, 'onnxruntime'), Predictor(result[0])
    assert after.engine == 'onnxruntime' and after.class_names == before.class_names
    found, expected = after.predict(data[1]), before.predict(data[1])
    assert (found.argmax(1) == expected.argmax(1)).mean() >= 0.9 and 0 < np.abs(found - expected).mean() < 0.2
    sizes = [(directory / 'inference.onnx').stat().st_size for directory in (source, result[0])]
    assert sizes[1] < 0.45 * sizes[0]


def test_it_reports_both_accuracies_agreement_size_and_speed(result, data, source):
    rows = result[1]['rows']
    assert [(row['engine'], row['precision']) for row in rows] == [('onnxruntime', 'float32'), ('onnxruntime', 'int8')]
    for row, directory in zip(rows, (source, result[0])):
        classes = Predictor(directory, 'onnxruntime').predict(data[1]).argmax(1)
        assert row['top1'] == pytest.approx(100 * np.mean(classes == data[2])) and row['top1'] >= 80
        assert row['bytes'] == (directory / 'inference.onnx').stat().st_size > 0
        assert list(row['ms']) == [1, 8] and min(row['ms'].values()) > 0


def test_inference_yaml_and_metadata_say_what_was_done(source, result):
    before, after = (yaml.safe_load((path / 'inference.yaml').read_text(encoding='utf-8')) for path in (source, result[0]))
    found = after.pop('quantization')
    assert found['weights'].startswith('int8 per channel')
    assert found['calibration_images'] == 24 and found['compared_images'] == 10
    assert found['top1'] == {row['precision']: round(row['top1'], 2) for row in result[1]['rows']}
    assert after == {key: value for key, value in before.items() if key not in ('differences', 'engines')}
    metadata = {entry.key for entry in onnx.load(str(result[0] / 'inference.onnx')).metadata_props}
    assert {'quantization', 'class_names'} <= metadata


def weights_of(path):
    """{name of a convolution: whether its weights are rounded}"""
    graph = onnx.load(str(path)).graph
    makers = {output: node.op_type for node in graph.node for output in node.output}
    return {node.name: makers.get(node.input[1]) == 'DequantizeLinear' for node in graph.node if node.op_type == 'Conv'}


@pytest.fixture(scope='module')
def batch(source, data):
    """One batch of inputs to calibrate with."""
    predictor = Predictor(source, 'onnxruntime')
    return np.stack([predictor.prepare(picture) for picture in data[0]])


def test_excluded_nodes_stay_float(source, result, batch, tmp_path):
    def quantize(exclude):
        return quantize_onnx(source / 'inference.onnx', tmp_path / 'x.onnx', [batch], OPERATORS, exclude, 'minmax')
    first = {name for name, rounded in weights_of(result[0] / 'inference.onnx').items() if not rounded}
    assert 'Conv.0' in first and len(first) < len(weights_of(source / 'inference.onnx')) / 3
    kept, _ = quantize(['Conv.1*'])
    float_ones = {name for name, rounded in weights_of(tmp_path / 'x.onnx').items() if not rounded}
    assert float_ones == first | {name for name in weights_of(source / 'inference.onnx') if name.startswith('Conv.1')}
    assert not float_ones.intersection(kept)
    with pytest.raises(UserError, match="no Conv, Gemm, MatMul, Relu, Clip is called 'Conv.999'; wanted one of Conv.0, "):
        quantize(['Conv.999'])
    with pytest.raises(UserError, match='no Conv, Gemm, MatMul, Relu, Clip with weights to quantise that is not excluded'):
        quantize(['*'])


def test_a_network_that_quantisation_ruins_is_an_error_and_nothing_is_written(source, data, tmp_path, monkeypatch):
    def ruin(source, target, *rest):
        found = quantize_onnx(source, target, *rest)
        model = onnx.load(str(target))
        for item in model.graph.initializer:
            array = numpy_helper.to_array(item)
            if array.dtype.itemsize == 1 and array.ndim > 1:       # weights: all become zero
                item.CopyFrom(numpy_helper.from_array(np.full_like(array, 128 if array.dtype == np.uint8 else 0), item.name))
        onnx.save(model, str(target))
        return found
    monkeypatch.setattr(quantize, 'quantize_onnx', ruin)
    with pytest.raises(UserError, match=r'quantised, \d+.0 % of 10 images keep their class; wanted at least 95.0 %. '
                                        r'Nothing was written. Exclude the layers that lose most: '):
        quantize_export(source, tmp_path / 'int8', *data)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize('method', ['percentile', 'entropy'])
def test_other_ways_to_find_ranges_work(source, data, tmp_path, method):
    rows = quantize_export(source, tmp_path / method, *data, method=method, min_agreement=0.9)['rows']
    assert rows[1]['agreement'] >= 0.9


def test_an_export_with_softmax_and_preprocessing_is_quantised_too(trained, data, quick, tmp_path):
    network, names = load_network(trained)
    export_model(network, tmp_path / 'float', names, 'onnx', softmax=True, pixels=True)
    rows = quantize_export(tmp_path / 'float', tmp_path / 'int8', *data, min_agreement=0.9)['rows']
    assert rows[1]['agreement'] >= 0.9
    np.testing.assert_allclose(Predictor(tmp_path / 'int8').predict(data[1]).sum(1), 1, rtol=1e-5)


def test_the_loss_of_a_layer_is_what_its_own_rounding_adds(tmp_path):
    rng = np.random.default_rng(0)
    first, second = (rng.standard_normal((6, 6)).astype(np.float32) for _ in range(2))
    second[0, 0] = 1000                                            # one large weight: its whole column becomes coarse
    nodes = [helper.make_node('Gemm', ['image', 'first'], ['middle'], 'good'),
             helper.make_node('Gemm', ['middle', 'second'], ['logits'], 'bad')]
    value = {name: helper.make_tensor_value_info(name, TensorProto.FLOAT, ['batch', 6]) for name in ('image', 'logits')}
    weights = [numpy_helper.from_array(first, 'first'), numpy_helper.from_array(second, 'second')]
    graph = helper.make_graph(nodes, 'two', [value['image']], [value['logits']], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid('', 17)], ir_version=8), tmp_path / 'float.onnx')
    batch = rng.standard_normal((50, 6)).astype(np.float32)
    quantize_onnx(tmp_path / 'float.onnx', tmp_path / 'int8.onnx', [batch], ['Gemm'], [], 'minmax')

    def rounded(array, low, high, levels, axis=None):
        scale = np.maximum(high, -low) / levels if axis is not None else (high - low) / levels
        return np.rint(array / scale) * scale
    expected = {}
    for name, given, weight in (('good', batch, first), ('bad', batch @ first, second)):
        coarse = rounded(weight, weight.min(0), weight.max(0), 127, axis=0)
        exact = given @ weight
        noise = exact - rounded(given, min(given.min(), 0), max(given.max(), 0), 255) @ coarse
        low, high = exact.min(), exact.max()
        noise = exact - rounded(exact - noise, min(low, 0), max(high, 0), 255)
        expected[name] = 10 * np.log10((exact ** 2).sum() / (noise ** 2).sum())
    found = dict(layer_losses(tmp_path / 'float.onnx', tmp_path / 'int8.onnx', batch))
    assert found == pytest.approx(expected, abs=0.5) and found['bad'] != pytest.approx(found['good'], abs=0.5)


def test_layers_come_with_the_largest_loss_first(result, source):
    layers, convolutions = result[1]['layers'], weights_of(result[0] / 'inference.onnx')
    assert {name for name, _ in layers} >= {name for name, rounded in convolutions.items() if rounded}
    assert [loss for _, loss in layers] == sorted(loss for _, loss in layers) and layers[0][1] > 5


def test_what_cannot_be_quantised_is_refused(source, result, data, tmp_path, monkeypatch):
    (tmp_path / 'paddle').mkdir()
    with pytest.raises(UserError, match='has no inference.onnx; wanted an export by tools/export.py --format onnx'):
        quantize_export(tmp_path / 'paddle', tmp_path / 'x', *data)
    with pytest.raises(UserError, match='is quantised already'):
        quantize_export(result[0], tmp_path / 'x', *data)
    with pytest.raises(UserError, match='0 images to calibrate with, 10 images and 10 labels'):
        quantize_export(source, tmp_path / 'x', [], *data[1:])
    with pytest.raises(UserError, match="method is 'max'; wanted one of minmax, percentile, entropy"):
        quantize_export(source, tmp_path / 'x', *data, method='max')
    with pytest.raises(UserError, match='exists and is not empty; an export never overwrites'):
        quantize_export(source, result[0], *data)
    monkeypatch.setattr(quantize, 'find_spec', lambda name: None)
    with pytest.raises(UserError, match=r'quantisation needs onnx, onnxruntime, ml_dtypes, which are not installed. Install them.*\[onnx\]'):
        quantize_export(source, tmp_path / 'x', *data)
    assert [path.name for path in tmp_path.iterdir()] == ['paddle']


def test_a_new_directory_appears_at_the_end_or_not_at_all(tmp_path):
    with pytest.raises(RuntimeError), new_directory(tmp_path / 'a' / 'b', 'export') as ready:
        (ready / 'file').write_text('x')
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    with new_directory(tmp_path / 'a' / 'b', 'export') as ready:
        (ready / 'file').write_text('x')
        assert not (tmp_path / 'a').exists()
    assert [path.name for path in (tmp_path / 'a').iterdir()] == ['b'] and (tmp_path / 'a' / 'b' / 'file').read_text() == 'x'


@pytest.fixture
def large_sums(tmp_path):
    """(file of a network of a dense, a depthwise and a linear layer, a batch): inputs and weights are near their largest."""
    rng = np.random.default_rng(0)
    def weight(*shape):
        return rng.uniform(0.9, 1.0, shape).astype(np.float32)
    nodes = [helper.make_node('Conv', ['image', 'dense'], ['a'], 'dense', kernel_shape=[1, 1]),
             helper.make_node('Conv', ['a', 'depthwise'], ['b'], 'depthwise', kernel_shape=[3, 3], group=16),
             helper.make_node('Flatten', ['b'], ['c'], 'flat'), helper.make_node('Gemm', ['c', 'linear'], ['logits'], 'linear')]
    weights = [numpy_helper.from_array(weight(*shape), name) for name, shape in (
        ('dense', (16, 64, 1, 1)), ('depthwise', (16, 1, 3, 3)), ('linear', (16, 5)))]
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
             for name, shape in (('image', ['batch', 64, 3, 3]), ('logits', ['batch', 5]))]
    graph = helper.make_graph(nodes, 'sums', value[:1], value[1:], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid('', 17)], ir_version=8), tmp_path / 'float.onnx')
    return tmp_path / 'float.onnx', rng.uniform(0.9, 1.0, (8, 64, 3, 3)).astype(np.float32)


@pytest.mark.parametrize('overflow', [True, False])
def test_dense_layers_have_unsigned_weights_where_sums_of_signed_ones_overflow(large_sums, monkeypatch, tmp_path, overflow):
    monkeypatch.setattr(onnx_int8, 'sums_overflow', lambda: overflow)
    path, batch = large_sums
    quantize_onnx(path, tmp_path / 'int8.onnx', [batch], OPERATORS, [], 'minmax')
    graph = onnx.load(str(tmp_path / 'int8.onnx')).graph
    values = {item.name: numpy_helper.to_array(item) for item in graph.initializer}
    wanted = np.uint8 if overflow else np.int8
    for name, kind, channels in (('dense', wanted, 16), ('depthwise', np.int8, 16), ('linear', wanted, 5)):
        [node] = [node for node in graph.node if node.op_type == 'DequantizeLinear' and node.input[0].startswith(f'{name}_')]
        weights, scales, middle = (values[key] for key in node.input)
        assert weights.dtype == middle.dtype == kind and scales.shape == (channels,)
        assert set(middle) == {128 if kind == np.uint8 else 0}
    if overflow or not sums_overflow():
        exact, found = (open_session(file, session_options()).run(None, {'image': batch})[0]
                        for file in (path, tmp_path / 'int8.onnx'))
        np.testing.assert_allclose(found, exact, rtol=0.02)


def test_processors_that_add_products_of_8_bits_in_32_need_no_unsigned_weights(monkeypatch):
    for machine, features, wanted in (('x86_64', {'avx2'}, True), ('x86_64', {'avx2', 'avx_vnni'}, False),
                                      ('AMD64', {'avx512_vnni'}, False), ('aarch64', set(), False)):
        monkeypatch.setattr(onnx_int8.platform, 'machine', lambda: machine)
        monkeypatch.setattr(onnx_int8, 'cpu_features', lambda: features)
        assert onnx_int8.sums_overflow() == wanted


def test_layers_of_half_the_pictures_side_stay_float(tmp_path):
    rng = np.random.default_rng(0)
    sizes = (('stem', 3, 2), ('wide', 8, 1), ('later', 8, 2), ('last', 8, 1))
    nodes = [helper.make_node('Conv', [f'{name}/in', f'{name}/w'], [f'{following}/in'], name, kernel_shape=[1, 1],
                              strides=[stride, stride])
             for (name, _, stride), following in zip(sizes, [name for name, *_ in sizes[1:]] + ['logits'])]
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
             for name, shape in (('stem/in', ['batch', 3, 8, 8]), ('logits/in', ['batch', 8, 2, 2]))]
    weights = [numpy_helper.from_array(rng.normal(size=(8, channels, 1, 1)).astype(np.float32), f'{name}/w')
               for name, channels, _ in sizes]
    onnx.save(helper.make_model(helper.make_graph(nodes, 'four', value[:1], value[1:], weights),
                                opset_imports=[helper.make_opsetid('', 17)], ir_version=8), tmp_path / 'float.onnx')
    batch = rng.normal(size=(4, 3, 8, 8)).astype(np.float32)
    kept, first = quantize_onnx(tmp_path / 'float.onnx', tmp_path / 'int8.onnx', [batch], OPERATORS, [], 'minmax')
    assert (kept, first) == (['later', 'last'], ['stem', 'wide'])
    assert weights_of(tmp_path / 'int8.onnx') == {'stem': False, 'wide': False, 'later': True, 'last': True}


def test_an_excluded_layer_runs_in_float_between_layers_of_8_bits(tmp_path):
    """ONNX Runtime would give its weights one scale for all channels, here a coarse one."""
    rng = np.random.default_rng(0)
    weights = [rng.uniform(0.5, 1.0, (8, 8, 1, 1)).astype(np.float32) for _ in range(3)]
    weights[0][1] = weights[0][0]                                  # two equal channels, which large weights subtract
    weights[1][0, :2] = np.float32([50, -50])[:, None, None]
    nodes = [helper.make_node('Conv', [x, f'w{i}'], [y], f'conv{i}', kernel_shape=[1, 1])
             for i, (x, y) in enumerate((('image', 'a'), ('a', 'b'), ('b', 'logits')))]
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ['batch', 8, 4, 4]) for name in ('image', 'logits')]
    graph = helper.make_graph(nodes, 'three', value[:1], value[1:],
                              [numpy_helper.from_array(weight, f'w{i}') for i, weight in enumerate(weights)])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid('', 17)], ir_version=8), tmp_path / 'float.onnx')
    batch = rng.uniform(0.5, 1.0, (4, 8, 4, 4)).astype(np.float32)
    quantize_onnx(tmp_path / 'float.onnx', tmp_path / 'int8.onnx', [batch], ['Conv'], ['conv1'], 'minmax')
    plain, options = session_options(), session_options()
    plain.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    exact, as_written, found = (open_session(tmp_path / name, given).run(None, {'image': batch})[0] for name, given in (
        ('float.onnx', options), ('int8.onnx', plain), ('int8.onnx', options)))
    np.testing.assert_allclose(as_written, exact, rtol=0.05)
    np.testing.assert_allclose(found, as_written, rtol=0.02)
