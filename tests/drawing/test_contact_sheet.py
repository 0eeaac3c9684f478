import numpy as np
import pytest
from PIL import Image

from image_classification.drawing import lettering
from image_classification.drawing import contact_sheet
from image_classification.drawing.contact_sheet import COLUMNS, GAP, ROWS, SIDE, ContactSheet, thumbnail
from image_classification.errors import UserError


def fill(sheet, count, label='cat'):
    for i in range(count):
        sheet.add(Image.new('RGB', (SIDE, SIDE), (i, 0, 255)), label, 0.5, f'/folder/{i}.png')
    sheet.close()


def middle(page, index, columns):
    """The colour in the middle of a picture on a page."""
    row, column = divmod(index, columns)
    pitch = (page.height - GAP) // -(-(index + 1) // columns) if row == 0 else contact_sheet.SIDE + contact_sheet._TEXT + GAP
    return page.getpixel((GAP + column * (SIDE + GAP) + SIDE // 2, GAP + row * pitch + SIDE // 2))


@pytest.mark.parametrize('total, columns, rows', [(1, 1, 1), (3, 3, 1), (12, 4, 3), (64, 8, 8)])
def test_one_page_is_as_large_as_its_pictures_need(tmp_path, total, columns, rows):
    sheet = ContactSheet(tmp_path / 'sheet.png', total)
    fill(sheet, total)
    page = Image.open(tmp_path / 'sheet.png')
    assert page.width == GAP + columns * (SIDE + GAP) and (page.height - GAP) % rows == 0
    assert [middle(page, i, columns) for i in range(total)] == [(i, 0, 255) for i in range(total)]


@pytest.mark.parametrize('total', [None, 2 * COLUMNS * ROWS + 3])
def test_more_pictures_go_to_further_pages_in_their_order(tmp_path, total):
    sheet = ContactSheet(tmp_path / 'sheet.png', total)
    fill(sheet, 2 * COLUMNS * ROWS + 3)
    assert [page.name for page in sheet.pages] == ['sheet.png', 'sheet-2.png', 'sheet-3.png']
    assert middle(Image.open(sheet.pages[1]), 0, COLUMNS) == (COLUMNS * ROWS, 0, 255)
    assert sorted(path.name for path in tmp_path.iterdir()) == ['sheet-2.png', 'sheet-3.png', 'sheet.png']


def test_no_pictures_make_no_page(tmp_path):
    sheet = ContactSheet(tmp_path / 'sheet.png', 3)
    sheet.close()
    assert sheet.pages == [] == list(tmp_path.iterdir())


def text_of(tmp_path, *labels):
    """The part of a sheet below its pictures, (H, W), for each label."""
    parts = []
    for i, label in enumerate(labels):
        fill(ContactSheet(tmp_path / f'{i}.png', 1), 1, label)
        parts.append(np.asarray(Image.open(tmp_path / f'{i}.png').convert('L'))[GAP + SIDE:])
    return parts


def test_label_and_probability_stand_below_the_picture(tmp_path):
    cat, dog, nothing = text_of(tmp_path, 'cat', 'dog', '')
    changed = np.argwhere(cat != dog)
    assert len(changed) and changed[:, 0].max() < 20               # only the first line differs
    assert (nothing[20:36] < 128).sum() > 20                       # the second holds the probability


def test_a_label_that_is_too_long_is_cut_before_the_next_picture(tmp_path):
    [part] = text_of(tmp_path, 'a label that goes on and on and on and on and on')
    assert (part[:, GAP + SIDE + 1:] == 255).all() and (part[:, SIDE - 20:] < 128).any()


def test_letters_that_no_font_knows_are_told(tmp_path, monkeypatch):
    monkeypatch.setattr(lettering, '_FONTS', ())
    lettering.font_for.cache_clear()
    sheet = ContactSheet(tmp_path / 'sheet.png')
    fill(sheet, 2, 'a \udcff 数字')                                 # and half a letter, as in names of files
    assert sheet.unknown_letters == {'数', '字'}
    lettering.font_for.cache_clear()


@pytest.mark.parametrize('name, words', [('sheet.jpg', 'does not end in .png'), ('none/sheet.png', 'none is no folder'),
                                         ('old.png', 'old.png exists; a contact sheet never overwrites'),
                                         ('pages.png', 'pages-2.png exists')])
def test_a_sheet_that_cannot_be_is_refused_at_once(tmp_path, name, words):
    (tmp_path / 'old.png').write_bytes(b'old')
    (tmp_path / 'pages-2.png').write_bytes(b'old')
    with pytest.raises(UserError, match=words):
        ContactSheet(tmp_path / name)


def test_a_font_that_is_none_is_refused(tmp_path):
    (tmp_path / 'font.ttf').write_bytes(b'no font')
    with pytest.raises(UserError, match='font.ttf cannot be read'):
        ContactSheet(tmp_path / 'sheet.png', font=str(tmp_path / 'font.ttf'))


@pytest.mark.parametrize('mode, size, wanted', [('RGB', (1000, 500), (SIDE, SIDE // 2)), ('L', (3, 6), (SIDE // 2, SIDE)),
                                                ('RGBA', (5000, 1), (SIDE, 1))])
def test_thumbnails_keep_their_shape(mode, size, wanted):
    small = thumbnail(Image.new(mode, size))
    assert (small.mode, small.size) == ('RGB', wanted)
