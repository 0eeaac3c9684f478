"""A network by its name on a command line: NAME, or NAME=WEIGHTS."""
import pytest

import image_classification as ic
from image_classification.checkpoint import named_network
from image_classification.deploy.by_name import open_predictor
from image_classification.errors import UserError
from image_classification.models import network_by_name
from image_classification.weights import write_safetensors
from tests.exports import SIZE

NAME = 'shufflenet_v2_x0_5'


@pytest.mark.parametrize('text, flag, found', [
    (NAME, '', (NAME, '')), (f'{NAME}=tag', '', (NAME, 'tag')), (NAME, 'tag', (NAME, 'tag')),
    (f'{NAME}=https://host/a?b=c', '', (NAME, 'https://host/a?b=c')), ('a=b.safetensors', '', None), ('run/export', '', None)])
def test_weights_stand_behind_the_name_or_in_a_flag(text, flag, found):
    assert network_by_name(text, flag) == found


def test_a_file_or_directory_of_that_name_is_meant_instead(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / NAME).mkdir()
    assert network_by_name(NAME) is None


@pytest.mark.parametrize('text, words', [
    (f'{NAME}=a', 'both name weights'), ('best.safetensors', '--weights needs a model name')])
def test_weights_twice_or_of_no_name_are_refused(text, words):
    with pytest.raises(UserError, match=words):
        network_by_name(text, 'tag')


def test_a_checkpoint_behind_a_name_is_itself(small_checkpoint):
    found, alone = (open_predictor(text) for text in (f'mobilenet_v1_x0_25={small_checkpoint}', str(small_checkpoint)))
    assert (found.preprocess, found.class_names) == (alone.preprocess, alone.class_names)
    assert found.preprocess.image_size == SIZE
    for name in (NAME, 'blazeface_front'):
        with pytest.raises(UserError, match=f'is a checkpoint of mobilenet_v1_x0_25, not of {name}'):
            open_predictor(f'{name}={small_checkpoint}')
    with pytest.raises(UserError, match='a checkpoint of 5 classes, not of 7; leave that out'):
        named_network('mobilenet_v1_x0_25', small_checkpoint, num_classes=7)


def test_a_predictor_of_a_name_has_its_weights(tmp_path):
    network = ic.create_model(NAME)
    write_safetensors(tmp_path / 'w.safetensors', {name: value.numpy() for name, value in network.state_dict().items()}, {})
    found = open_predictor(f'{NAME}={tmp_path / "w.safetensors"}').network.state_dict()
    assert all((found[name] == value).all() for name, value in network.state_dict().items())
    with pytest.raises(UserError, match=f'export it first: tools/export.py {NAME}'):
        open_predictor(NAME, engine='openvino')
