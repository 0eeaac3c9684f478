import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import paddle
import pytest

import image_classification as ic
from image_classification.datasets import Preprocess
from image_classification.deploy.export import export_model
from image_classification.checkpoint import Progress, load_network
from image_classification.engine.checkpoint import save_checkpoint
from image_classification.engine.distill import Teacher, build_distillation, hard_loss, load_teacher, soft_loss
from image_classification.engine.processes.distributed import Group
from image_classification.engine.ema import ModelEma
from image_classification.engine.optim import build_optimizer
from image_classification.engine.trainer import train_or_evaluate
from image_classification.weights import write_safetensors

CLASSES = ['bläu', 'red, warm']
X, T = np.array([[1.0, -2.0, 0.5], [0.0, 3.0, -1.0]]), np.array([[2.0, 0.0, -1.0], [1.0, 1.5, 0.0]])
IMAGES = np.random.default_rng(0).standard_normal([3, 3, 32, 32], np.float32)


def config(**values):
    """A student of two classes at 32 px."""
    values = {'DATA.IMAGE_SIZE': 32, 'MODEL.NUM_CLASSES': 2, **{key.replace('__', '.'): v for key, v in values.items()}}
    return ic.get_config('mobilenet_v1_x0_25', values)


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """A network of two classes at 32 px, and its checkpoint."""
    paddle.seed(1)
    cfg = config()
    model = ic.create_model(cfg)
    path = tmp_path_factory.mktemp('teacher') / 'last.safetensors'
    save_checkpoint(path, cfg, CLASSES, Progress(), model, ModelEma(model, 0.9, enabled=False), build_optimizer(cfg, model),
                    paddle.amp.GradScaler(enable=False))
    return load_network(path)[0], path


def teacher(where, classes=CLASSES, **values):
    return load_teacher(config(TRAIN__DISTILL__TEACHER=str(where), TRAIN__DISTILL__KIND='soft', **values), classes)


def message(where, **values):
    with pytest.raises(ic.UserError) as caught:
        teacher(where, **values)
    return str(caught.value)


def softmax(x):
    return np.exp(x) / np.exp(x).sum(1, keepdims=True)


@pytest.mark.parametrize('tau, recorded', [(1.0, 0.46965033), (3.0, 0.79560077)])  # PyTorch's kl_div, batchmean, times tau^2
def test_the_soft_loss_is_the_divergence_at_a_temperature(tau, recorded):
    p, q = softmax(T / tau), softmax(X / tau)
    expected = tau ** 2 * (p * np.log(p / q)).sum() / 2
    assert float(soft_loss(paddle.to_tensor(X), paddle.to_tensor(T), tau)) == pytest.approx(expected, rel=1e-6)
    assert expected == pytest.approx(recorded, rel=1e-6)


def test_the_hard_loss_is_the_cross_entropy_with_the_teachers_class():
    expected = -np.log(softmax(X)[[0, 1], [0, 1]]).mean()
    assert float(hard_loss(paddle.to_tensor(X), paddle.to_tensor(T))) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize('kind', ['soft', 'hard'])
def test_labels_and_teacher_share_the_loss(trained, kind):
    network, path = trained
    cfg = config(TRAIN__DISTILL__TEACHER=str(path), TRAIN__DISTILL__KIND=kind, TRAIN__DISTILL__ALPHA=0.3,
                 TRAIN__DISTILL__TAU=2.0)
    logits, images = paddle.to_tensor([[1.0, 0.0], [2.0, 1.0], [0.0, 0.5]]), paddle.to_tensor(IMAGES)
    wanted = network(images)
    taught = soft_loss(logits, wanted, 2.0) if kind == 'soft' else hard_loss(logits, wanted)
    loss = build_distillation(cfg, CLASSES)(paddle.to_tensor(5.0), logits, images)
    assert float(loss) == pytest.approx(0.7 * 5 + 0.3 * float(taught), rel=1e-5)


def test_only_the_student_gets_gradients(trained):
    cfg = config(TRAIN__DISTILL__TEACHER=str(trained[1]), TRAIN__DISTILL__KIND='soft')
    distillation = build_distillation(cfg, CLASSES)
    logits = paddle.to_tensor(np.zeros((3, 2), np.float32), stop_gradient=False)
    distillation(logits.sum() * 0, logits, paddle.to_tensor(IMAGES)).backward()
    assert float(logits.grad.abs().sum()) > 0
    assert all(p.grad is None for p in distillation.teacher.network.parameters())


def test_without_distillation_the_loss_stays():
    loss = paddle.to_tensor(2.0)
    assert build_distillation(config(), CLASSES)(loss, None, None) is loss


def test_a_checkpoint_teaches(trained):
    network, path = trained
    np.testing.assert_array_equal(teacher(path)(paddle.to_tensor(IMAGES)).numpy(), network(paddle.to_tensor(IMAGES)).numpy())


def test_a_model_with_weights_teaches(trained, tmp_path):
    network = trained[0]
    weights = tmp_path / 'weights.safetensors'
    write_safetensors(weights, {name: tensor.numpy() for name, tensor in network.state_dict().items()}, {})
    found = teacher('mobilenet_v1_x0_25', TRAIN__DISTILL__WEIGHTS=str(weights))
    assert found.preprocess.image_size == 224 and not found.network.training
    large = paddle.nn.functional.interpolate(paddle.to_tensor(IMAGES), [224, 224], mode='bilinear')
    np.testing.assert_allclose(found(paddle.to_tensor(IMAGES)).numpy(), network(large).numpy(), rtol=1e-5)


@pytest.fixture(scope='module')
def exported(trained, tmp_path_factory):
    """The directory of an export that ends in logits."""
    directory = tmp_path_factory.mktemp('exported') / 'export'
    export_model(trained[0], directory, CLASSES)
    return directory


def test_an_export_teaches(trained, exported):
    expected = trained[0](paddle.to_tensor(IMAGES)).numpy()
    np.testing.assert_allclose(teacher(exported)(paddle.to_tensor(IMAGES)).numpy(), expected, atol=1e-5)


@pytest.mark.slow
def test_an_export_that_ends_in_probabilities_teaches_the_same(trained, tmp_path):
    export_model(trained[0], tmp_path / 'export', CLASSES, softmax=True)
    found = teacher(tmp_path / 'export')(paddle.to_tensor(IMAGES)).numpy()
    expected = trained[0](paddle.to_tensor(IMAGES)).numpy()
    np.testing.assert_allclose(softmax(found), softmax(expected), atol=1e-5)


@pytest.mark.slow
def test_an_export_for_paddle_lite_teaches_too(trained, tmp_path):
    export_model(trained[0], tmp_path / 'export', CLASSES, format='pdmodel')
    expected = trained[0](paddle.to_tensor(IMAGES)).numpy()
    np.testing.assert_allclose(teacher(tmp_path / 'export')(paddle.to_tensor(IMAGES)).numpy(), expected, atol=1e-5)


@pytest.mark.parametrize('theirs', [{'color_order': 'BGR'}, {'mean': (0.5,) * 3, 'std': (0.5, 0.4, 0.3)},
                                    {'color_order': 'BGR', 'mean': (0.1, 0.2, 0.3)}])
@pytest.mark.parametrize('order', ['RGB', 'BGR'])
def test_the_teacher_gets_images_as_its_own_preprocessing_makes_them(theirs, order):
    from PIL import Image
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8))
    student = replace(Preprocess.from_config(config()), color_order=order)
    own = replace(student, **{'color_order': 'RGB', **theirs})
    prepare = Teacher(None, 'x', own, [], True, student).prepare
    np.testing.assert_allclose(prepare(paddle.to_tensor(student.to_input(picture)[None])).numpy()[0], own.to_input(picture),
                               atol=1e-5)


def test_misfits_are_named(trained, tmp_path):
    network, path = trained
    assert 'only in the data set: red' in message(path, classes=['red', 'bläu'])
    assert 'knows 2 classes; wanted 7' in message(path, classes=[], MODEL__NUM_CLASSES=7)
    assert 'takes images of 3 channels; wanted 1' in message(path, MODEL__IN_CHANNELS=1)
    assert 'no export of a classifier' in message(tmp_path)
    assert 'WEIGHTS is empty' in message('mobilenet_v1_x0_25')
    assert 'no checkpoint at' in message(tmp_path / 'none.safetensors')
    text = message('/nope')
    assert 'TRAIN.DISTILL.TEACHER is no directory of an export and no checkpoint' in text and "'/nope'" in text
    assert 'a tag' not in text
    assert 'Did you mean mobilenet_v1_x0_25' in message('mobilenet_v1') and len(message('x' * 5000)) < 500
    weights = tmp_path / 'weights.safetensors'
    write_safetensors(weights, {name: tensor.numpy() for name, tensor in network.state_dict().items()}, {})
    assert 'Fine-tune it' in message('mobilenet_v1_x0_25', MODEL__NUM_CLASSES=7, TRAIN__DISTILL__WEIGHTS=str(weights))


def test_the_same_classes_in_another_order_are_put_right_and_it_says_so(trained):
    images = paddle.to_tensor(IMAGES)
    swapped = teacher(trained[1], CLASSES[::-1])
    np.testing.assert_array_equal(swapped(images).numpy(), trained[0](images).numpy()[:, ::-1])
    assert 'in another order' in swapped.notes[0] and teacher(trained[1]).notes == []
    assert 'are not known' in teacher(trained[1], ['0', '1']).notes[0]


def test_an_export_that_is_damaged_is_named(exported, tmp_path):
    damaged = tmp_path / 'export'
    shutil.copytree(exported, damaged)
    (damaged / 'inference.pdiparams').unlink()
    assert 'lacks inference.pdiparams' in message(damaged)
    (damaged / 'inference.pdiparams').write_bytes(b'no weights')
    assert 'export it again' in message(damaged)


@pytest.mark.parametrize('key, value', [('KIND', 'both'), ('ALPHA', 1.5), ('TAU', 0.0), ('TEACHER', 'x')])
def test_values_out_of_range_are_named(key, value):
    with pytest.raises(ic.UserError, match=f'TRAIN.DISTILL.{key} is .*; wanted'):
        build_distillation(config(**{f'TRAIN__DISTILL__{key}': value}), CLASSES)


@pytest.mark.parametrize('name', ['/nope', 'nope', 'mobilenet', 'nope.onnx'])
def test_a_teacher_that_is_nowhere_is_called_so(name):
    words = 'TRAIN.DISTILL.TEACHER is no directory of an export and no checkpoint (.safetensors)'
    assert message(name).startswith(words) and repr(name) in message(name)


def test_a_teacher_by_name_may_have_a_checkpoint_for_its_weights(trained):
    found = teacher('mobilenet_v1_x0_25', TRAIN__DISTILL__WEIGHTS=str(trained[1]))
    assert found.class_names == CLASSES and found.preprocess.image_size == 32
    assert 'is a checkpoint of mobilenet_v1_x0_25, not of mobilenet_v1_x0_5' in message(
        'mobilenet_v1_x0_5', TRAIN__DISTILL__WEIGHTS=str(trained[1]))


def test_a_student_learns_from_its_teacher_alone(tiny, trained):
    """With ALPHA 1 the labels count nothing: the student comes to give the teacher's probabilities."""
    options = {'TRAIN__DISTILL__TEACHER': str(trained[1]), 'TRAIN__DISTILL__KIND': 'soft', 'TRAIN__DISTILL__ALPHA': 1.0,
               'TRAIN__NUM_EPOCHS': 14, 'VALIDATE_FREQ': 14, 'DATA__BATCH_SIZE': 8, 'MODEL__DROPOUT': 0.0,
               'TRAIN__OPTIMIZER__NAME': 'SGD', 'TRAIN__BASE_LR': 0.05}
    cfg = tiny(**options)
    train_or_evaluate(cfg, Group())
    directory = next(Path(cfg.SAVE).iterdir())
    rows = [json.loads(line) for line in (directory / 'metrics.jsonl').read_text().splitlines()]
    losses = [row['loss'] for row in rows if row['kind'] == 'train']
    assert 'teacher mobilenet_v1_x0_25 at 32 px, soft' in (directory / 'log.txt').read_text()
    assert sum(losses[-4:]) < sum(losses[:4]) / 4
