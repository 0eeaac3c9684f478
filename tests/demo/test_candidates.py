from types import SimpleNamespace

import pytest
from PIL import Image

import image_classification as ic
from image_classification.demo.candidates import Candidate, open_candidates
from image_classification.deploy.predictor import Predictor
from image_classification.checkpoint import load_network
from image_classification.errors import UserError
from image_classification.explain import explain_class, overlay
from image_classification.weights import to_torch, write_safetensors


@pytest.fixture(scope='module')
def photo(pictures):
    return Image.open(pictures / 'picture 3.png')


def test_names_of_any_bytes_are_shown_in_unicode():
    predictor = SimpleNamespace(class_names=['\udcd6\udcd0', '猫'], warm_up=lambda: None)
    assert Candidate('label', predictor).class_names == [r'\xd6\xd0', '猫']


def test_a_candidate_says_what_its_predictor_says(trained, photo):
    candidate, predictor = Candidate('a', Predictor(trained)), Predictor(trained)
    answer = candidate.classify(photo)
    assert answer.best == predictor.top_k(predictor.predict(photo)[0], 5) and answer.network_ms > 0 < answer.prepare_ms


def test_equal_class_names_are_told_apart(trained):
    network, _ = load_network(trained)
    assert Candidate('a', Predictor.of_network(network, ['crane', 'crane'])).class_names == ['crane (0)', 'crane (1)']
    assert Candidate('a', Predictor.of_network(network)).class_names == ['0', '1']


def test_the_heat_map_is_of_the_class_asked_for_over_what_the_network_sees(network, photo):
    candidate = Candidate('a', Predictor.of_network(network, list('abcde')))
    drawn = {}
    for index, name in enumerate('abcde'):
        drawn[name], shown = candidate.heat_map(photo, name)
        heat = explain_class(network, photo, index).heat
        assert shown == name and drawn[name] == overlay(candidate.view(photo), heat) and drawn[name].size == (384, 384)
    assert len({picture.tobytes() for picture in drawn.values()}) > 1
    best = candidate.classify(photo).best[0][0]
    assert candidate.heat_map(photo) == (drawn[best], best)


def test_an_export_has_no_heat_map_and_says_so(exported, photo):
    candidate = Candidate('a', Predictor(exported[1]))
    assert not candidate.explains and len(candidate.classify(photo).best) == 5
    with pytest.raises(UserError, match='export, which has no gradients'):
        candidate.heat_map(photo)


def test_what_the_network_sees_is_shown_in_colour_and_large_enough():
    grey = ic.create_model('mobilenet_v3_small_x0_5', num_classes=2, in_chans=1)
    candidate = Candidate('a', Predictor.of_network(grey))
    picture = Image.new('RGB', (500, 300), (200, 10, 10))
    view = candidate.view(picture)
    assert view.size == (448, 448) and view.getpixel((200, 200)) == (200, 10, 10)
    assert candidate.heat_map(picture)[0].size == (448, 448)


def test_networks_of_one_name_are_numbered_and_tell_no_path(trained, exported):
    candidates = open_candidates([str(trained), str(exported[1]), str(trained)], engine='paddle_inference')
    assert list(candidates) == ['shufflenet_v2_x0_5 (paddle)', 'mobilenet_v1_x0_25 (paddle_inference)',
                                'shufflenet_v2_x0_5 (paddle) 2']


def test_a_file_of_weights_comes_with_the_name_of_its_model(tmp_path, photo):
    model = ic.create_model('mobilenet_v1_x0_25').eval()
    write_safetensors(tmp_path / 'w.safetensors', to_torch(model, 'paddle'), {})
    [candidate] = open_candidates([f'mobilenet_v1_x0_25={tmp_path / "w.safetensors"}']).values()
    assert candidate.label == 'mobilenet_v1_x0_25 (paddle)'
    expected = Predictor.of_network(model).predict(photo)[0]
    assert [p for _, p in candidate.classify(photo).best] == pytest.approx(sorted(expected)[:-6:-1], rel=1e-5)


@pytest.mark.parametrize('name, words', [
    ('nothing', 'no file, no directory and no model'), ('nothing=weights.pth', 'no file, no directory and no model'),
    ('mobilenet_v1_x0_25=nothing.pth', 'no weights at nothing.pth'), ('blazeface_front=w.pth', 'names no classes')])
def test_what_is_no_network_gets_one_message(name, words):
    with pytest.raises(UserError, match=words):
        open_candidates([name])


def test_weights_of_other_classes_are_refused(tmp_path):
    write_safetensors(tmp_path / 'w.safetensors', to_torch(ic.create_model('mobilenet_v1_x0_25', num_classes=3), 'paddle'), {})
    with pytest.raises(UserError, match='another number of classes than 1000; .*give the checkpoint of a training'):
        open_candidates([f'mobilenet_v1_x0_25={tmp_path / "w.safetensors"}'])
