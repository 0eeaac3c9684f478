"""What becomes of a converted graph."""
import numpy as np
import pytest

from image_classification.deploy.formats import sizes
from image_classification.deploy.formats.onnx_format import (copied_dimensions, mend_pads, plain_operators, scalar_ranges,
                                                             spread_norms, spread_softmax)

onnx = pytest.importorskip('onnx', reason="pip install -e '.[test]'")
onnxruntime = pytest.importorskip('onnxruntime', reason="pip install -e '.[test]'")


def softmax_model(axis, shape):
    """Two softmaxes over `axis`, one behind the other, of an input of `shape`, None where free."""
    from onnx import TensorProto, helper
    attributes = {} if axis is None else {'axis': axis}
    nodes = [helper.make_node('Softmax', ['x'], ['y'], **attributes), helper.make_node('Softmax', ['y'], ['z'], **attributes)]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in 'xz']
    model = helper.make_model(helper.make_graph(nodes, 'softmax', values[:1], values[1:]),
                              opset_imports=[helper.make_opsetid('', 17)])
    model.ir_version = 8
    return model


def run(model, x):
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=['CPUExecutionProvider'])
    return session.run(None, {'x': x})[0]


@pytest.mark.parametrize('axis', [None, -4, -3, -2, -1, 0, 1, 2, 3])
@pytest.mark.parametrize('shape', [[2, 3, 4, 5], [None, 3, None, 5]])
def test_a_spread_softmax_gives_the_same(axis, shape):
    x = np.random.default_rng(0).normal(0, 30, (2, 3, 4, 5)).astype('float32')
    plain = run(softmax_model(axis, shape), x)
    spread = spread_softmax(softmax_model(axis, shape))
    np.testing.assert_allclose(run(spread, x), plain, rtol=1e-5, atol=1e-7)
    kept = sum(node.op_type == 'Softmax' for node in spread.graph.node)
    assert kept == (2 if axis in (None, -1, 3) else 0)             # over rows it is fast as it is


def test_a_spread_norm_of_computed_factors_gives_the_same_and_one_of_weights_is_left():
    from onnx import TensorProto, helper, numpy_helper
    nodes = [helper.make_node('ReduceMax', ['x'], ['factor'], axes=[0, 2, 3], keepdims=0),
             helper.make_node('ReduceMin', ['x'], ['offset'], axes=[0, 2, 3], keepdims=0),
             helper.make_node('BatchNormalization', ['x', 'factor', 'offset', 'zeros', 'ones'], ['y'], epsilon=0.0),
             helper.make_node('BatchNormalization', ['y', 'ones', 'ones', 'zeros', 'ones'], ['z'], epsilon=1e-5)]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3, None, 5]) for name in 'xz']
    weights = [numpy_helper.from_array(np.full(3, value, np.float32), name) for name, value in (('zeros', 0), ('ones', 1))]
    model = helper.make_model(helper.make_graph(nodes, 'norms', values[:1], values[1:], weights),
                              opset_imports=[helper.make_opsetid('', 17)])
    model.ir_version = 8
    x = np.random.default_rng(0).standard_normal((1, 3, 4, 5), np.float32)
    plain = run(model, x)
    spread = spread_norms(model)
    np.testing.assert_allclose(run(spread, x), plain, rtol=1e-6, atol=1e-6)
    assert [node.op_type for node in spread.graph.node].count('BatchNormalization') == 1


def test_a_range_of_lists_of_one_number_is_one_of_numbers():
    """As paddle2onnx writes it; ONNX Runtime, which infers shapes first, refuses that where they are fixed."""
    from onnx import TensorProto, helper, numpy_helper
    nodes = [helper.make_node('Range', ['first', 'limit', 'step'], ['z']), helper.make_node('Add', ['x', 'z'], ['w'])]
    values = [helper.make_tensor_value_info(name, TensorProto.INT64, [7]) for name in 'xw']
    weights = [numpy_helper.from_array(np.array([value], np.int64), name)
               for name, value in (('first', 0), ('limit', 7), ('step', 1))]
    model = helper.make_model(helper.make_graph(nodes, 'range', values[:1], values[1:], weights),
                              opset_imports=[helper.make_opsetid('', 17)])
    model.ir_version = 8
    with pytest.raises(Exception, match='scalar'):
        run(model, np.zeros(7, np.int64))
    np.testing.assert_array_equal(run(scalar_ranges(model), np.zeros(7, np.int64)), np.arange(7))


def test_a_pad_has_the_value_of_the_paddle_program(tmp_path):
    """paddle2onnx writes what was in memory."""
    from onnx import TensorProto, helper, numpy_helper
    nodes = [helper.make_node('Pad', [before, 'widths', 'garbage'], [after]) for before, after in ('xy', 'yz')]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ['n']) for name in 'xz']
    weights = [numpy_helper.from_array(value, name)
               for name, value in (('widths', np.array([0, 1], np.int64)), ('garbage', np.array(7e34, np.float32)))]
    for found, wanted in (([0.0, 0.0], [5, 0, 0]), ([2.5, -1.0], [5, 2.5, -1]), ([3.0], [5, 3, 3])):
        model = helper.make_model(helper.make_graph(nodes, 'pad', values[:1], values[1:], weights),
                                  opset_imports=[helper.make_opsetid('', 17)])
        model.ir_version = 8
        text = ','.join(f'{{"AT":{{"#":"0.a_f64","D":{value}}},"N":"pad_value"}}' for value in found)
        (tmp_path / 'a.json').write_text(f'[{text}]')
        np.testing.assert_array_equal(run(mend_pads(model, tmp_path / 'a'), np.float32([5])), np.float32(wanted))


def test_plain_operators_give_the_same():
    from onnx import TensorProto, helper, numpy_helper
    nodes = [helper.make_node('AveragePool', ['x'], ['pooled'], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1],
                              count_include_pad=1),
             helper.make_node('GlobalAveragePool', ['pooled'], ['one']), helper.make_node('Squeeze', ['one', 'axes'], ['row']),
             helper.make_node('Unsqueeze', ['row', 'axes'], ['factor']), helper.make_node('Mul', ['pooled', 'factor'], ['z'])]
    values = [helper.make_tensor_value_info('x', TensorProto.FLOAT, [1, 3, 8, 8]),
              helper.make_tensor_value_info('z', TensorProto.FLOAT, [1, 3, 4, 4])]
    rng = np.random.default_rng(0)
    weights = [numpy_helper.from_array(np.array([2, 3], np.int64), 'axes')]
    model = helper.make_model(helper.make_graph(nodes, 'plain', values[:1], values[1:], weights),
                              opset_imports=[helper.make_opsetid('', 17)])
    model.ir_version = 8
    x = rng.standard_normal((1, 3, 8, 8), np.float32)
    wanted = run(model, x)
    plain = plain_operators(model)
    np.testing.assert_allclose(run(plain, x), wanted, rtol=1e-5, atol=1e-6)
    assert not {'Unsqueeze', 'Squeeze'} & {node.op_type for node in plain.graph.node}
    [pool] = [node for node in plain.graph.node if node.op_type == 'AveragePool']
    assert not {'pads', 'count_include_pad'} & {attribute.name for attribute in pool.attribute}


@pytest.mark.parametrize('mode', ['SAME_UPPER', 'SAME_LOWER'])
@pytest.mark.parametrize('kernel, stride', [(3, 2), (5, 2), (2, 1), (3, 1), (1, 2)])
def test_borders_that_follow_from_the_size_are_numbers(mode, kernel, stride):
    from onnx import TensorProto, helper, numpy_helper
    rng = np.random.default_rng(0)
    weight = numpy_helper.from_array(rng.standard_normal((2, 2, kernel, kernel), np.float32), 'w')
    node = helper.make_node('Conv', ['x', 'w'], ['y'], auto_pad=mode, kernel_shape=[kernel] * 2, strides=[stride] * 2)
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
              for name, shape in (('x', [1, 2, 8, 9]), ('y', [1, 2, -(-8 // stride), -(-9 // stride)]))]
    model = helper.make_model(helper.make_graph([node], 'same', values[:1], values[1:], [weight]),
                              opset_imports=[helper.make_opsetid('', 17)])
    model.ir_version = 8
    x = rng.standard_normal((1, 2, 8, 9), np.float32)
    wanted, plain = run(model, x), plain_operators(model)
    np.testing.assert_allclose(run(plain, x), wanted, rtol=1e-5, atol=1e-6)
    assert 'auto_pad' not in {attribute.name for attribute in plain.graph.node[0].attribute}


@pytest.mark.parametrize('axis, keep', [(3, 1), (2, 1), (-1, 0), (-2, 0)])
@pytest.mark.parametrize('side', [1, 4])
def test_a_sum_over_rows_or_columns_is_a_product_and_one_over_a_single_number_is_none(axis, keep, side):
    node = onnx.helper.make_node('ReduceSum', ['x', 'axes'], ['y'], keepdims=keep)
    x = np.random.default_rng(0).standard_normal((1, 2, side, side), np.float32)
    shape = x.sum(axis, keepdims=bool(keep)).shape
    model = graph_of([node], {'axes': [axis]}, x.shape, shape)
    wanted, plain = run(model, x), plain_operators(model)
    np.testing.assert_allclose(run(plain, x), wanted, rtol=1e-5, atol=1e-6)
    kinds = {node.op_type for node in plain.graph.node}
    assert 'ReduceSum' not in kinds and ('MatMul' in kinds) == (side > 1)


def reshaping(*dimensions):
    """Of x (batch, 6, height, width): what lists a Reshape's sizes, each an int or the place of a size of x."""
    make_node = onnx.helper.make_node
    nodes = [make_node('Shape', ['x'], ['shape'])]
    weights = {'zero': [0]}
    for number, size in enumerate(dimensions):
        if isinstance(size, int):
            weights[f'size_{number}'] = [size]
        else:
            weights.update({f'start_{number}': [size[0]], f'end_{number}': [size[0] + 1]})
            nodes.append(make_node('Slice', ['shape', f'start_{number}', f'end_{number}', 'zero'], [f'size_{number}']))
    nodes += [make_node('Concat', [f'size_{number}' for number in range(len(dimensions))], ['sizes'], axis=0),
              make_node('Reshape', ['x', 'sizes'], ['y'])]
    return graph_of(nodes, weights, ['batch', 6, 'height', 'width'], [None] * len(dimensions))


def graph_of(nodes, weights, x, y):
    values = [onnx.numpy_helper.from_array(np.array(value, np.int64 if isinstance(value, list) else np.float32), name)
              for name, value in weights.items()]
    ends = [onnx.helper.make_tensor_value_info(name, 1, shape) for name, shape in (('x', x), ('y', y))]
    graph = onnx.helper.make_graph(nodes, 'graph', ends[:1], ends[1:], values)
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid('', 17)], ir_version=8)


@pytest.mark.parametrize('dimensions, wanted', [
    (((0,), 2, 3, -1), [0, 2, 3, -1]), (((0,), 6, (2,), -1), [0, 6, 0, -1]),
    (((0,), (2,), -1), None), ((-1, (0,)), None)])                 # of another place: that cannot be said by a constant
def test_sizes_that_stay_where_they_were_are_constants(dimensions, wanted):
    model, x = reshaping(*dimensions), np.arange(2 * 6 * 3 * 5, dtype=np.float32).reshape(2, 6, 3, 5)
    expected = run(model, x)
    changed = copied_dimensions(model)
    np.testing.assert_array_equal(run(changed, x), expected)
    kinds = [node.op_type for node in changed.graph.node]
    assert kinds == ['Reshape'] if wanted else 'Shape' in kinds
    if wanted:
        [sizes_] = [onnx.numpy_helper.to_array(value) for value in changed.graph.initializer]
        assert sizes_.tolist() == wanted


def test_maps_of_the_same_size_bear_the_same_names_and_others_do_not():
    make_node = onnx.helper.make_node
    nodes = [make_node('Conv', ['x', 'same'], ['a'], kernel_shape=[3, 3], pads=[1] * 4),
             make_node('Add', ['x', 'a'], ['b']),
             make_node('Conv', ['b', 'same'], ['c'], kernel_shape=[3, 3], pads=[1] * 4, strides=[2, 2]),
             make_node('MaxPool', ['b'], ['d'], kernel_shape=[3, 3], pads=[1] * 4, strides=[2, 2]),
             make_node('Add', ['c', 'd'], ['e']),
             make_node('GlobalAveragePool', ['e'], ['f']),
             make_node('Mul', ['e', 'f'], ['g']),
             make_node('Add', ['g', 'unknown'], ['h']),
             make_node('Relu', ['h'], ['y'])]
    model = graph_of(nodes, {'same': np.zeros((6, 6, 3, 3))}, ['batch', 6, 'height', 'width'], [None] * 4)
    found = sizes.shapes(model.graph, ['batch', 6, 'height', 'width'])
    assert found['a'] == found['b'] == found['x'] and found['c'] == found['d'] == found['e'] == found['g']
    assert found['c'][:2] == ['batch', 6] and not {'height', 'width'} & set(found['c'])
    assert found['f'] == ['batch', 6, 1, 1] and 'h' not in found
