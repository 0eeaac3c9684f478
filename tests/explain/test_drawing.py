"""The pictures show what they are made of."""
import numpy as np
import pytest
from PIL import Image

from image_classification.explain.attention import AttentionMap
from image_classification.explain.cam import ClassEvidence
from image_classification.drawing.heat import HEAT, SIGNED, coloured, marked, overlay, sheet, squares
from image_classification.explain.sheets import WIDE, attention_sheets, cam_sheet

GREY = Image.new('L', (60, 40), 100)


def test_colours_go_from_the_first_to_the_last():
    assert coloured([[0, 1, 2, -1, np.nan]])[0].tolist() == [HEAT[i].tolist() for i in (0, -1, -1, 0, 0)]
    assert coloured([[0.5]], SIGNED)[0, 0].tolist() == SIGNED[2].tolist()
    between = coloured(np.linspace(0, 1, 7)[None])[0]
    assert np.array_equal(between, HEAT)


def test_an_overlay_is_hot_where_the_heat_is():
    heat = np.zeros((4, 6))
    heat[3, 5] = 1
    picture = np.asarray(overlay(GREY, heat)).astype(int)
    assert picture.shape == (40, 60, 3)
    assert np.abs(picture[39, 59] - (HEAT[-1] + 100) / 2).max() <= 1 and np.abs(picture[0, 0] - (HEAT[0] + 100) / 2).max() <= 1
    assert np.array_equal(overlay(GREY, heat, strength=0), GREY.convert('RGB'))


def test_outside_of_what_the_network_saw_it_is_dark():
    picture = np.asarray(overlay(GREY, np.ones((2, 2)), box=(10, 0, 50, 40)))
    assert picture[5, 9].max() <= 40 and picture[5, 50].max() <= 40
    assert np.abs(picture[5, 10].astype(int) - (HEAT[-1] + 100) / 2).max() <= 1


def test_squares_keep_their_shape():
    values = np.array([[0, 1], [2, 4]])
    picture = np.asarray(squares(values, 101))
    assert picture.shape == (100, 100, 3) and picture[99, 99].tolist() == HEAT[-1].tolist()
    assert np.array_equal(picture[0, 0], picture[49, 49]) and not np.array_equal(picture[0, 0], picture[0, 50])
    assert np.asarray(squares(values, 10, high=8))[9, 9].tolist() == coloured([[0.5]])[0, 0].tolist()


def test_a_ring_is_drawn_around_the_place_not_over_it():
    changed = np.asarray(marked(GREY.convert('RGB'), 0.5, 0.25)) != 100
    rows, columns, _ = np.nonzero(changed)
    assert abs(rows.mean() - 20) < 1 and abs(columns.mean() - 15) < 1 and not changed[20, 15].any()


def test_a_sheet_holds_every_cell_and_its_captions():
    red, blue = Image.new('RGB', (30, 20), 'red'), Image.new('RGB', (50, 10), 'blue')
    rows = [('first', [(red, 'a'), (blue, 'b')]), ('数字', [(None, 'nothing'), (red, 'd')])]
    page = np.asarray(sheet(rows, 'a long title'))
    assert (page == (255, 0, 0)).all(2).sum() == 2 * 600 and (page == (0, 0, 255)).all(2).sum() == 500
    blank = np.asarray(sheet([('', [(red, ''), (blue, '')]), ('', [(None, ''), (red, '')])]))
    assert (page < 100).all(2).sum() > 50 and not (blank < 100).all(2).any()


def evidence(heat, index, probabilities):
    return ClassEvidence(np.float32(heat), index, probabilities[index], np.float32(probabilities), None, None)


def test_grad_cam_stands_beside_the_original():
    found = [evidence([[0, 0], [0, 1]], 1, [0.7, 0.3]), evidence([[0, 0], [0, 0]], 0, [0.7, 0.3])]
    page = cam_sheet(GREY, (10, 0, 50, 40), found, ['cat', 'dog'])
    assert page.width > 3 * WIDE
    one = cam_sheet(GREY, (0, 0, 60, 40), found[:1], ['cat', 'dog'])
    assert 2 * WIDE < one.width < 3 * WIDE and not (np.asarray(one) == (255, 0, 255)).all(2).any()


@pytest.mark.parametrize('size', [(1, 3000), (3000, 1), (1, 1), (17, 23)])
def test_pictures_of_any_shape_are_drawn(size):
    middle = (size[0] // 2, size[1] // 2, size[0] // 2, size[1] // 2)
    assert cam_sheet(Image.new('CMYK', size), middle, [evidence(np.ones((8, 8)), 0, [1.0])], ['only']).width > 2


def layer(kind, heads, queries, keys, grid=None, **pixels):
    weights = np.random.default_rng(0).random((heads, queries, keys), np.float32)
    return AttentionMap('blocks.0', kind, weights / weights.sum(2, keepdims=True), grid, **pixels)


def test_each_kind_of_attention_has_its_sheet():
    grid = np.arange(12)
    maps = [layer('tokens to map', 2, 3, 12, (3, 4), key_pixels=grid),
            layer('map to tokens', 2, 12, 3, (3, 4), query_pixels=grid),
            layer('tokens', 2, 3, 3), layer('channels', 2, 8, 8), layer('kernels', 1, 40, 25, (5, 5), key_pixels=np.arange(25)),
            layer('pixels', 3, 12, 12, (3, 4), query_pixels=grid, key_pixels=grid),
            layer('pixels', 3, 2, 2, (3, 4), query_pixels=np.array([-1, 0]), key_pixels=np.array([-1, 0])),
            layer('windows', 2, 12, 4, (3, 4), query_pixels=grid, key_pixels=np.zeros((12, 4), int))]
    sheets = attention_sheets(GREY, maps, (0.9, 0.9))
    assert set(sheets) == {'tokens to map', 'map to tokens', 'tokens', 'channels', 'kernels', 'pixels', 'windows'}
    for kind, count in (('tokens to map', 6), ('map to tokens', 6), ('pixels', 3)):
        assert sheets[kind].width > count * 104


def test_a_hot_token_is_seen_where_it_looks():
    weights = np.zeros((1, 1, 12), np.float32)
    weights[0, 0, 11] = 1
    found = AttentionMap('bridge', 'tokens to map', weights, (3, 4), key_pixels=np.arange(12))
    page = np.asarray(attention_sheets(Image.new('RGB', (80, 60)), [found], (0, 0))['tokens to map']).astype(int)
    hot = np.argwhere(np.abs(page - HEAT[-1] // 2).max(2) <= 1)
    cell = np.argwhere(np.abs(page - HEAT[0] // 2).max(2) <= 1)
    assert len(hot) and (hot.mean(0) > cell.mean(0)).all()
