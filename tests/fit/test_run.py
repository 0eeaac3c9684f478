"""Folders of three colours, and networks that learn them in seconds."""
import numpy as np
import paddle
import pytest
import yaml

from image_classification.checkpoint import load_network
from image_classification.config import get_config
from image_classification.deploy.predictor import Predictor
from image_classification.errors import UserError
from image_classification.engine import launch
from image_classification.fit import plan, run, training, tuning
from image_classification.fit.head import fit_head
from image_classification.fit.start import Start
from image_classification.models import create_model
from image_classification.weights import write_safetensors
from tests.exports import children_in_process

NETWORK = 'mobilenet_v1_x0_25'
UNPUBLISHED = 'mobilenet_v2_x0_35'                                 # nobody has weights for it


@pytest.fixture(autouse=True)
def short(monkeypatch):
    """The end of a run takes no 40 seconds here."""
    monkeypatch.setattr(run, '_END', 0.0)
    monkeypatch.setattr(tuning, '_BEGIN', 0.0)
    monkeypatch.setattr(tuning, 'process_count', lambda: 1)
    monkeypatch.setattr(plan, '_EPOCHS', (10,))
    with children_in_process():
        yield


@pytest.fixture(scope='module')
def published(tmp_path_factory):
    """A file of weights whose features tell colours apart: random ones, with the statistics of coloured pictures."""
    paddle.seed(0)
    network = create_model(NETWORK, num_classes=5)
    with paddle.no_grad():
        for _ in range(40):
            network(0.3 * paddle.randn([32, 3, 32, 32]) + paddle.randn([32, 3, 1, 1]))
    path = tmp_path_factory.mktemp('weights') / 'weights.safetensors'
    write_safetensors(path, {name: value.numpy() for name, value in network.state_dict().items()}, {})
    return path


@pytest.fixture
def trains_here(monkeypatch):
    """The trainer runs in the test's process; the first test starts it as it is."""
    def train(directory, plan, deadline, say):
        launch.single.__wrapped__(['-cfg', str(directory / training.RECIPE)])
        return training.Trained(list((directory / 'runs').glob('*/last.safetensors')), True)
    monkeypatch.setattr(tuning, 'train', train)


def start_from(path, monkeypatch):
    network = create_model(NETWORK, num_classes=5, pretrained=path)
    monkeypatch.setattr(run, 'choose_start', lambda name: Start(network, str(path), 'weights of a test'))


def test_one_call_gives_a_tested_classifier_its_export_and_the_yaml_that_repeats_it(folder, published, tmp_path, monkeypatch):
    start_from(published, monkeypatch)
    root, said = folder({'red': 30, 'green': 30, 'blue': 30}), []
    found = run.fit(root, tmp_path / 'out', minutes=1, size=32, say=said.append)
    text = '\n'.join(said)
    assert found['top1'] >= 50 and found['images'] == 18, text
    lines = text.splitlines()
    top1 = next(line for line in lines if line.startswith('top-1 '))
    assert top1.startswith(f'top-1       {found["top1"]:.2f} % (') and top1.endswith('with 95 % confidence) on 18 pictures')
    for beginning in ('pictures', 'split', 'start', 'head', 'training', 'calibration', 'checkpoint', 'export', 'advice', 'classify'):
        assert any(line.startswith(beginning) for line in lines), beginning
    export, checkpoint = Predictor(found['export']), Predictor(found['checkpoint'])
    pictures = list(root.glob('*/*.png'))
    answers = export.predict(pictures)
    right = [export.top_k(answer, 1)[0][0] == picture.parent.name for answer, picture in zip(answers, pictures)]
    assert sum(right) > 45, right                                  # of 90, of which 30 would be chance
    np.testing.assert_allclose(answers, checkpoint.predict(pictures), atol=1e-4)
    cfg = get_config(tmp_path / 'out' / 'fit.yaml')
    assert cfg.MODEL.NAME == NETWORK and cfg.MODEL.NUM_CLASSES == 3 and cfg.DATA.IMAGE_SIZE == 32 and cfg.PRETRAINED


def test_the_temperature_travels_in_the_export_and_is_applied(folder, published, tmp_path, monkeypatch):
    start_from(published, monkeypatch)
    monkeypatch.setattr(run, 'find_temperature', lambda logits, labels: 2.5)
    monkeypatch.setattr(run.Tuning, 'candidates', lambda self: [])
    found = run.fit(folder({'red': 12, 'green': 12}), tmp_path / 'out', size=32, say=lambda line: None)
    assert yaml.safe_load((found['export'] / 'inference.yaml').read_text())['calibration'] == {'temperature': 2.5}
    picture = next((tmp_path / 'my pictures' / 'red').iterdir())
    network = Predictor(found['checkpoint']).network
    with paddle.no_grad():
        logits = network(paddle.to_tensor(Predictor(found['checkpoint']).prepare(picture)[None]))
    wanted = paddle.nn.functional.softmax(logits / 2.5).numpy()
    for path in (found['export'], found['checkpoint']):
        np.testing.assert_allclose(Predictor(path).predict(picture), wanted, atol=1e-5)


def test_the_last_epochs_learn_the_deciding_pictures_too(folder, published, tmp_path, monkeypatch, trains_here):
    start_from(published, monkeypatch)
    monkeypatch.setattr(run, 'surest', lambda logits, labels, errors: 1)         # weights of the training, not the head
    said, out = [], tmp_path / 'out'
    found = run.fit(folder({'red': 20, 'green': 20}), out, minutes=1, size=32, say=said.append)
    first, last = ((out / place / 'pictures' / 'train_list.txt').read_text().splitlines() for place in ('', 'last_epochs'))
    decided = (out / 'pictures' / 'val_list.txt').read_text().splitlines()
    assert decided and sorted(last) == sorted(first + decided[1:])
    log = next((out / 'last_epochs' / 'runs').glob('*/log.txt')).read_text()
    assert f'{len(last)} images to train, 1 to test' in log and 'left out' not in log
    assert 'last epochs 2 more, on the validation pictures as well' in said
    rates = [get_config(path / 'fit.yaml').TRAIN.BASE_LR for path in (out, out / 'last_epochs')]
    assert rates[1] == pytest.approx(0.3 * rates[0])
    end = next((out / 'last_epochs' / 'runs').glob('*/last.safetensors'))
    assert _weights(found['checkpoint']) == _weights(end)


def _weights(path):
    return {name: value.tobytes() for name, value in load_network(path)[0].state_dict().items() for value in [value.numpy()]}


def test_without_weights_it_learns_from_nothing_and_says_why(folder, tmp_path, trains_here):
    said = []
    found = run.fit(folder({'red': 20, 'green': 20}), tmp_path / 'out', minutes=1, network=UNPUBLISHED, size=32, say=said.append)
    assert any(line.startswith(f'start       {UNPUBLISHED} from scratch: nobody publishes ImageNet weights') for line in said)
    assert found['images'] == 8 and not any(line.startswith('head') for line in said)


def test_nothing_is_overwritten_and_a_place_that_cannot_be_written_is_named(folder, tmp_path):
    root = folder({'red': 5, 'green': 5})
    (tmp_path / 'out').mkdir()
    (tmp_path / 'out' / 'mine').write_text('mine')
    with pytest.raises(UserError, match='is not empty; a run never overwrites'):
        run.fit(root, tmp_path / 'out')
    with pytest.raises(UserError, match='mine'):
        run.fit(root, tmp_path / 'out' / 'mine' / 'below', network=UNPUBLISHED)
    assert [path.name for path in (tmp_path / 'out').iterdir()] == ['mine']


@pytest.mark.parametrize('error, left', [(KeyboardInterrupt(), []), (UserError('the training has failed'), ['training.txt']),
                                         (SystemExit(143), [])])
def test_a_fit_that_is_stopped_before_it_has_trained_leaves_nothing(folder, tmp_path, monkeypatch, error, left):
    def fit(root, test, output, *_):
        output.mkdir()
        (output / 'training.txt').touch()
        raise error
    monkeypatch.setattr(run, '_fit', fit)
    with pytest.raises(type(error)):
        run.fit(folder({'red': 1}), tmp_path / 'out')
    assert [path.name for path in tmp_path.glob('out/*')] == left and (tmp_path / 'out').exists() == bool(left)


def test_by_force_an_earlier_fit_is_replaced_once_this_one_is_done(folder, tmp_path, monkeypatch):
    root, output, found = folder({'red': 5, 'green': 5}), tmp_path / 'out', []
    (output / 'pictures').mkdir(parents=True)
    (output / 'fit.yaml').write_text('before')

    def fit(*_):
        found.append(sorted(path.name for path in tmp_path.glob('out*')))
        output.mkdir()
        (output / 'training.txt').write_text('now')
        if len(found) == 1:
            raise KeyboardInterrupt
    monkeypatch.setattr(run, '_fit', fit)
    with pytest.raises(UserError, match='or replace it with --force'):
        run.fit(root, output)
    with pytest.raises(KeyboardInterrupt):
        run.fit(root, output, force=True)
    assert (output / 'fit.yaml').read_text() == 'before' and not (output / 'training.txt').exists()
    run.fit(root, output, force=True)
    assert [path.name for path in output.iterdir()] == ['training.txt'] and found == [['out-before']] * 2
    (output / 'pictures').mkdir()
    (output / 'thesis.doc').touch()
    with pytest.raises(UserError, match='holds thesis.doc, which no fit has written, so it is not replaced'):
        run.fit(root, output, force=True)


def test_where_there_is_no_time_it_says_so(folder, tmp_path):
    with pytest.raises(UserError, match='too few for 20 steps'):
        run.fit(folder({'red': 9, 'green': 9}), tmp_path / 'out', minutes=0.001, network=UNPUBLISHED, size=32, say=lambda line: None)


def test_rarer_classes_weigh_more():
    features = np.random.default_rng(0).normal(0, 1, (110, 3)).astype(np.float32)
    labels = np.array([0] * 100 + [1] * 10)
    features[labels == 1, 0] += 1.5
    plain, weighed = (fit_head(features, labels, 2, weights) for weights in (None, np.array([0.55, 5.5])))
    found = [((features @ weight + bias).argmax(1)[labels == 1] == 1).mean() for weight, bias in (plain, weighed)]
    assert found[1] > found[0]
