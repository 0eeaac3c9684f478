"""Text in pictures, with a font that knows its letters."""
from functools import lru_cache

from PIL import ImageFont

from image_classification.errors import UserError

# As Linux, Windows and macOS call them: Latin, Greek and Cyrillic letters, then also Chinese, Japanese and Korean ones.
_FONTS = ('DejaVuSans.ttf', 'LiberationSans-Regular.ttf', 'arial.ttf', 'Arial.ttf', 'NotoSansCJK-Regular.ttc',
          'NotoSansCJKsc-Regular.otf', 'NotoSansSC-Regular.ttf', 'NotoSansSC-Regular.otf', 'SourceHanSansSC-Regular.otf',
          'SourceHanSansCN-Regular.otf', 'wqy-microhei.ttc', 'wqy-zenhei.ttc', 'DroidSansFallbackFull.ttf', 'msyh.ttc',
          'simhei.ttf', 'simsun.ttc', 'malgun.ttf', 'PingFang.ttc', 'Hiragino Sans GB.ttc', 'Arial Unicode.ttf')


@lru_cache(maxsize=1000)
def font_for(text, size, file=None):
    """A font for the text, of that size in pixels: the file, else the first that knows most of its letters, of Pillow's own
    and of the system's. Pillow's own knows little more than ASCII."""
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
    """Pillow's own font and those of the names that are there."""
    found = [ImageFont.load_default(size)]
    for name in names:
        try:
            found.append(ImageFont.truetype(name, size))
        except OSError:
            continue
    return found


def file_for(text, size=12):
    """(file of the font that `font_for` takes, '' for Pillow's own; the letters of the text that it lacks)."""
    font = font_for(text, size)
    path = getattr(font, 'path', '')
    return path if isinstance(path, str) else '', [] if text.isascii() else unknown_letters(font, text)


def unknown_letters(font, text):
    """The letters of a text that a font shows as the box that stands for any it lacks."""
    def drawn(letter):
        mask = font.getmask(letter)
        return mask.size, bytes(mask)

    box = drawn('\uffff')                  # which is no letter in any script
    return [letter for letter in text if letter.isprintable() and not letter.isspace() and drawn(letter) == box]


def cut(text, font, width):
    """The text, or as much of its beginning as is not wider than `width` pixels, with dots."""
    text = ''.join(character if character.isprintable() else '?' for character in text)
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + '...') > width:
        text = text[:-1]
    return text + '...'
