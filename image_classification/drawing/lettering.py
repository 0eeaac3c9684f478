"""Fonts for text in pictures: finds one that has the letters of a text."""
from functools import lru_cache

from PIL import ImageFont

from image_classification.errors import UserError

# Font files of Linux, Windows and macOS: first those with Latin, Greek and Cyrillic letters, then those that also have Chinese,
# Japanese and Korean ones.
_FONTS = ('DejaVuSans.ttf', 'LiberationSans-Regular.ttf', 'arial.ttf', 'Arial.ttf', 'NotoSansCJK-Regular.ttc',
          'NotoSansCJKsc-Regular.otf', 'NotoSansSC-Regular.ttf', 'NotoSansSC-Regular.otf', 'SourceHanSansSC-Regular.otf',
          'SourceHanSansCN-Regular.otf', 'wqy-microhei.ttc', 'wqy-zenhei.ttc', 'DroidSansFallbackFull.ttf', 'msyh.ttc',
          'simhei.ttf', 'simsun.ttc', 'malgun.ttf', 'PingFang.ttc', 'Hiragino Sans GB.ttc', 'Arial Unicode.ttf')


@lru_cache(maxsize=1000)
def font_for(text, size, file=None):
    """A font for the text, with that size in pixels: `file` if given, else the font with most of the text's letters.

    Candidates are Pillow's own font, which has little more than ASCII, and the system's fonts.
    """
    if file:
        return _font_of(file, size)
    if text.isascii():
        return _fonts(size, ())[0]
    return min(_fonts(size, _FONTS), key=lambda font: len(unknown_letters(font, text)))


@lru_cache
def _font_of(file, size):
    try:
        return ImageFont.truetype(file, size)
    except OSError as error:
        raise UserError(f'the font {file} cannot be read: {error}; wanted a file .ttf, .otf or .ttc') from None


@lru_cache
def _fonts(size, names):
    """Pillow's own font, and the named fonts that are installed."""
    found = [ImageFont.load_default(size)]
    for name in names:
        try:
            found.append(ImageFont.truetype(name, size))
        except OSError:
            continue
    return found


def file_for(text, size=12):
    """(file of the font that `font_for` chooses, or '' for Pillow's own; the letters of the text that the font lacks)."""
    font = font_for(text, size)
    path = getattr(font, 'path', '')
    return path if isinstance(path, str) else '', [] if text.isascii() else unknown_letters(font, text)


def unknown_letters(font, text):
    """The letters of a text that a font lacks: it draws them as the box for missing letters."""
    def drawn(letter):
        mask = font.getmask(letter)
        return mask.size, bytes(mask)

    box = drawn('\uffff')                  # not a letter in any script
    return [letter for letter in text if letter.isprintable() and not letter.isspace() and drawn(letter) == box]


def cut(text, font, width):
    """The text, cut to `width` pixels with '...' at the end if it is wider."""
    text = ''.join(character if character.isprintable() else '?' for character in text)
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + '...') > width:
        text = text[:-1]
    return text + '...'
