"""What becomes of a converted graph."""
import numpy as np
import pytest

from image_classification.deploy.formats.onnx_format import spread_norms, spread_softmax

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
