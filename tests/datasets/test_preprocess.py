"""The evaluation transform is torchvision's and timm's, and survives the way through yaml."""
import json

import numpy as np
import pytest
import yaml
from PIL import Image

from image_classification.datasets import Preprocess
from image_classification.errors import UserError

GOOD = {'image_size': 8, 'crop_pct': 0.875, 'interpolation': 'bilinear', 'mean': [0.1, 0.2, 0.3], 'std': [0.5, 0.25, 1.0],
        'channels': 3}


@pytest.mark.parametrize('size', [(20, 12), (12, 20), (9, 9), (101, 64)])
@pytest.mark.parametrize('interpolation', ['nearest', 'bilinear', 'bicubic', 'lanczos', 'box', 'hamming'])
def test_it_resizes_the_short_side_crops_the_centre_and_normalizes(photo, size, interpolation):
    image = photo(*size)
    width, height = size
    short = 9                              # floor(8 / 0.875)
    resized = image.resize((short, int(short * height / width)) if width < height else (int(short * width / height), short),
                           Image.Resampling[interpolation.upper()])
    left, top = int(round((resized.width - 8) / 2.0)), int(round((resized.height - 8) / 2.0))
    crop = np.asarray(resized).astype(np.float64)[top:top + 8, left:left + 8]
    wanted = ((crop / 255 - GOOD['mean']) / GOOD['std']).transpose(2, 0, 1)
    got = Preprocess.from_dict({**GOOD, 'interpolation': interpolation})(image)
    assert got.dtype == np.float32 and got.shape == (3, 8, 8)
    np.testing.assert_allclose(got, wanted, atol=1e-6)


def test_crop_pct_1_resizes_a_square_image(photo):
    got = Preprocess(8, 1.0, 'bicubic', 0.0, 1.0)(photo(20, 20))
    wanted = np.asarray(photo(20, 20).resize((8, 8), Image.Resampling.BICUBIC)).transpose(2, 0, 1) / 255
    np.testing.assert_allclose(got, wanted, atol=1e-6)


@pytest.mark.parametrize('image_size, crop_pct, short', [
    (224, 0.875, 256), (256, 0.875, 292), (299, 0.8975, 333), (224, 0.9, 248)])
def test_the_resized_side_is_rounded_down_as_in_timm(monkeypatch, photo, image_size, crop_pct, short):
    asked = []
    monkeypatch.setattr('image_classification.datasets.transforms.resize_short',
                        lambda image, size, interpolation: asked.append(size) or image.resize((size, size)))
    Preprocess(image_size, crop_pct, 'bilinear', 0.5, 0.5)(photo())
    assert asked == [short]


def test_a_long_strip_does_not_exhaust_the_memory(photo):
    assert Preprocess(224, 0.875, 'bilinear', 0.5, 0.5)(Image.new('RGB', (1, 60000))).shape == (3, 224, 224)


@pytest.mark.parametrize('mode', ['L', 'RGBA', 'P', 'CMYK', '1'])
@pytest.mark.parametrize('channels', [1, 3, 4])
def test_images_of_any_mode_become_the_wanted_channels(photo, mode, channels):
    assert Preprocess(8, 1.0, 'bilinear', 0.5, 0.5, channels)(photo().convert(mode)).shape == (channels, 8, 8)


@pytest.mark.parametrize('channels, order', [(1, [0]), (3, [2, 1, 0]), (4, [2, 1, 0, 3])])
def test_a_network_may_take_blue_first(photo, channels, order):
    mean, std = (0.1, 0.2, 0.3, 0.4)[:channels], (0.5, 0.6, 0.7, 0.8)[:channels]
    rgb, bgr = (Preprocess(8, 1.0, 'bilinear', mean, std, channels, color)(photo()) for color in ('RGB', 'BGR'))
    np.testing.assert_array_equal(bgr, rgb[order])


def test_preprocessing_stored_without_an_order_of_colours_is_rgb():
    assert Preprocess.from_dict(GOOD).to_dict() == {**GOOD, 'color_order': 'RGB'}


def test_one_number_holds_for_all_channels():
    assert Preprocess(8, 1.0, 'bilinear', 0.5, [0.25]).mean == (0.5, 0.5, 0.5)
    assert Preprocess(8, 1.0, 'bilinear', 0.5, [0.25]).std == (0.25, 0.25, 0.25)


@pytest.mark.parametrize('dump, load', [(yaml.safe_dump, yaml.safe_load), (json.dumps, json.loads)])
def test_to_dict_and_back_through_a_file_is_the_same(dump, load):
    pre = Preprocess.from_dict(GOOD)
    assert Preprocess.from_dict(load(dump(pre.to_dict()))) == pre


def test_from_config_reads_the_data_keys(config):
    cfg = config('DATA.IMAGE_SIZE', 32, 'DATA.CROP_PCT', 0.9, 'DATA.INTERPOLATION', 'bicubic', 'DATA.IMAGENET_MEAN', [0.5])
    assert Preprocess.from_config(cfg) == Preprocess(32, 0.9, 'bicubic', 0.5, (0.229, 0.224, 0.225), 3)


@pytest.mark.parametrize('change, message', [
    ({'image_size': 0}, r'image_size \(DATA.IMAGE_SIZE\) is 0; wanted 1 to 4096'),
    ({'image_size': 8.5}, 'image_size .* is 8.5'),
    ({'crop_pct': 0.0}, 'crop_pct .* is 0.0; wanted 0.1 to 1'),
    ({'crop_pct': 1.1}, 'crop_pct .* is 1.1'),
    ({'interpolation': 'area'}, "interpolation .* is 'area'; wanted one of: nearest, bilinear, bicubic, lanczos, box, hamming"),
    ({'mean': [0.5, 0.5]}, r'mean .* is \(0.5, 0.5\); wanted 1 number or 3'),
    ({'mean': [123.7, 116.3, 103.5]}, r'mean .*\[0\] is 123.7; wanted 0 to 1, to which pixels are scaled first'),
    ({'mean': None}, 'mean .* wanted numbers'),
    ({'mean': [0.5, 'x', 0.5]}, 'mean .* wanted numbers'),
    ({'std': [0.5, 0.0, 0.5]}, r'std .*\[1\] is 0.0; wanted 1e-06 to 1000000'),
    ({'channels': 2}, 'channels is 2; wanted 1'),
    ({'channels': 1}, 'mean .* wanted 1 number or 1'),
])
def test_a_bad_value_is_an_error_that_names_it(change, message):
    with pytest.raises(UserError, match=message):
        Preprocess.from_dict({**GOOD, **change})


@pytest.mark.parametrize('values', [{}, {**GOOD, 'extra': 1}, None])
def test_from_dict_wants_exactly_its_keys(values):
    with pytest.raises(UserError, match='wanted exactly the keys image_size, crop_pct'):
        Preprocess.from_dict(values)
