import pytest
from PIL import ImageFont

from image_classification.drawing import lettering
from image_classification.errors import UserError
from image_classification.drawing.lettering import cut, file_for, font_for, unknown_letters


class Font:
    """Knows the letters that it is given; any other is drawn as a box."""

    def __init__(self, known):
        self.known = known

    def getmask(self, letter):
        return Mask(letter if letter in self.known else 'box')


class Mask(bytes):
    size = (8, 8)

    def __new__(cls, text):
        return super().__new__(cls, text.encode())


@pytest.fixture
def fonts(monkeypatch):
    """Pillow's own font and two of the system."""
    found = [Font('abc '), Font('abcü'), Font('abü数字')]
    monkeypatch.setattr(lettering, '_fonts', lambda size, names: found if names else found[:1])
    font_for.cache_clear()
    yield found
    font_for.cache_clear()


@pytest.mark.parametrize('text, index', [('', 0), ('abc', 0), ('xyz', 0), ('abü', 1), ('b数字', 2), ('c数字', 2), ('한', 0)])
def test_the_first_font_that_knows_most_letters_is_taken(fonts, text, index):
    assert font_for(text, 12) is fonts[index]


def test_the_file_of_the_font_and_what_it_lacks_are_told(fonts):
    fonts[2].path = '/fonts/cjk.ttc'
    assert file_for('abc') == ('', []) and file_for('数字') == ('/fonts/cjk.ttc', [])
    assert file_for('数한') == ('/fonts/cjk.ttc', ['한'])


def test_letters_that_pillows_own_font_lacks_are_found():
    assert unknown_letters(ImageFont.load_default(14), 'cat 数 字\n\udcff') == ['数', '字']


def test_a_font_that_is_not_there_is_passed_over():
    assert len(lettering._fonts(12, ('no such font.ttf',))) == 1


def test_a_file_is_taken_for_every_text_and_must_be_a_font(tmp_path):
    (tmp_path / 'font.ttf').write_bytes(b'no font')
    for text in ('a', '数'):
        with pytest.raises(UserError, match='font.ttf cannot be read'):
            font_for(text, 12, str(tmp_path / 'font.ttf'))


def test_a_text_that_is_too_wide_ends_in_dots():
    font = font_for('', 14)
    short = cut('a long text', font, 40)
    assert short.endswith('...') and 'a long text'.startswith(short[:-3]) and font.getlength(short) <= 40
    assert cut('a\nb', font, 100) == 'a?b' and cut('abc', font, 100) == 'abc' and cut('abc', font, 1) == '...'
