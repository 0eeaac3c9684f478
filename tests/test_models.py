import paddle
import pytest

import image_classification as ic


def test_lists_models_by_a_pattern():
    assert ic.list_models('mobileformer_*') == sorted(f'mobileformer_{v}' for v in '26m 52m 96m 151m 214m 294m 508m'.split())
    assert ic.list_models('nothing*') == []


@pytest.mark.parametrize('name', ic.list_models())
def test_every_model_gives_one_row_of_logits_per_image(name):
    model = ic.create_model(name, num_classes=4).eval()
    with paddle.no_grad():
        assert model(paddle.rand((2, 3, 64, 64))).shape == [2, 4]


def test_keywords_mean_keys_of_the_model():
    model = ic.create_model('mobileformer_26m', in_chans=1, drop_path=0.25, drop_rate=0.5, num_classes=3).config.MODEL
    assert (model.IN_CHANNELS, model.DROPPATH, model.DROPOUT, model.NUM_CLASSES) == (1, 0.25, 0.5, 3)


def test_a_misspelled_keyword_is_answered_with_the_nearest():
    with pytest.raises(ic.UserError, match="'num_clases'; the nearest is 'num_classes'"):
        ic.create_model('mobileformer_26m', num_clases=3)


def test_a_configuration_is_taken_as_it_is():
    cfg = ic.get_config('mobileformer_26m', {'MODEL.NUM_CLASSES': 3})
    assert ic.create_model(cfg).config is cfg
    with pytest.raises(ic.UserError, match='not both'):
        ic.create_model(cfg, num_classes=4)
