"""What is done in a Paddle that lacks a private function."""
import sys

import paddle
import pytest
from paddle.jit.dy2static import program_translator
from paddle.utils.cpp_extension import extension_utils

import image_classification as ic
from image_classification.cpu import paddle_internals
from image_classification.engine.optim import build_optimizer


@pytest.mark.parametrize('lacks', [False, True])
def test_tensors_become_views_of_one(lacks, monkeypatch):
    if lacks:
        monkeypatch.delattr(paddle._C_ops, 'coalesce_tensor')
    tensors = [paddle.rand(shape) for shape in ([2, 3], [4], [], [2, 1, 2])]
    flat, views = paddle_internals.coalesce(tensors)
    assert flat.tolist() == [number for tensor in tensors for number in tensor.flatten().tolist()]
    flat.add_(paddle.ones_like(flat))
    for tensor, view in zip(tensors, views, strict=True):
        assert view.shape == tensor.shape and (view == tensor + 1).all()


@pytest.mark.parametrize('lacks', [False, True])
@pytest.mark.parametrize('number, finite', [(3e38, True), (float('inf'), False), (float('nan'), False)])
def test_one_number_decides_whether_all_are_finite(lacks, number, finite, monkeypatch):
    if lacks:
        monkeypatch.delattr(paddle._C_ops, 'check_finite_and_unscale_')
    assert paddle_internals.all_finite([paddle.ones([3]), paddle.to_tensor([1.0, number])]) == finite


@pytest.mark.parametrize('lacks', [False, True])
def test_a_parameter_has_a_gradient_or_none(lacks, monkeypatch):
    if lacks:
        monkeypatch.delattr(paddle.Tensor, '_grad_ivar')
    layer = paddle.nn.Linear(2, 1)
    assert paddle_internals.gradient_of(layer.weight) is None
    layer(paddle.ones([1, 2])).sum().backward()
    assert paddle_internals.gradient_of(layer.weight).tolist() == [[1.0], [1.0]]


@pytest.mark.parametrize('owner, name', [
    (paddle.Tensor, '_share_buffer_to'), (paddle.optimizer.Optimizer, '_create_accumulators')])
def test_without_shared_memory_an_optimizer_is_paddles_own(owner, name, monkeypatch):
    monkeypatch.delattr(owner, name)
    model = ic.create_model('mobilenet_v3_small_x0_5')
    assert isinstance(build_optimizer(model.config, model), paddle.optimizer.Optimizer)


@pytest.mark.parametrize('lacking', ['load', 'run'])
def test_operators_that_cannot_be_loaded_or_run_are_not_there(lacking, monkeypatch):
    monkeypatch.setattr(extension_utils, 'load_op_meta_info_and_register_op', lambda path: ['one'])
    assert paddle_internals.load_operators('library.so') == {'one'}
    if lacking == 'load':
        monkeypatch.delattr(extension_utils, 'load_op_meta_info_and_register_op')
    else:
        monkeypatch.delattr(paddle._C_ops, '_run_custom_op')
    assert paddle_internals.load_operators('library.so') == set()


def test_a_paddle_that_does_not_say_which_program_it_traces_has_the_newer_format(monkeypatch):
    assert not paddle_internals.traces_older_program()
    monkeypatch.delattr(paddle.framework, 'in_pir_mode')
    assert not paddle_internals.traces_older_program()


class Twice(paddle.nn.Layer):
    """Its method is translated when it is traced: it depends on a size."""

    def forward(self, x):
        return x + x if x.shape[0] > 1 else 2 * x


@pytest.mark.parametrize('lacks', [False, True])
def test_a_method_is_translated_once_for_all_layers_of_its_class(lacks, monkeypatch, tmp_path):
    if lacks:
        monkeypatch.delattr(program_translator, 'FunctionCache')
    else:
        translated, translate = [], program_translator.FunctionCache._convert
        monkeypatch.setattr(program_translator.FunctionCache, '_convert',
                            lambda cache, method: translated.append(method) or translate(cache, method))
    with paddle_internals.translated_once():
        model = paddle.nn.Sequential(Twice(), Twice(), Twice())
        spec = paddle.static.InputSpec([-1, 2], 'float32')
        paddle.jit.save(paddle.jit.to_static(model, input_spec=[spec], full_graph=True), str(tmp_path / 'traced'))
    assert lacks or translated.count(Twice.forward) == 1
    assert (paddle.jit.load(str(tmp_path / 'traced'))(paddle.ones([3, 2])) == 8).all()


@pytest.mark.parametrize('module, call', [
    ('paddle.base.core', lambda: paddle_internals.operators_of_older_program(b'')),
    ('paddle.base.layer_helper', lambda: paddle_internals.append_to_older_program('relu', {}, {}))])
def test_a_paddle_without_the_older_format_is_named(module, call, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ic.UserError, match='older format'):
        call()
