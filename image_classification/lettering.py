"""Text in pictures, with a font that knows its letters."""
from functools import lru_cache

from PIL import ImageFont

from image_classification.errors import UserError

# Fonts that know Chinese, Japanese and Korean, as Linux, Windows and macOS call them; Pillow's own knows Latin letters only.
_FONTS = ('NotoSansCJK-Regular.ttc', 'wqy-microhei.ttc', 'wqy-zenhei.ttc', 'DroidSansFallbackFull.ttf', 'msyh.ttc',
          'PingFang.ttc', 'Hiragino Sans GB.ttc', 'Arial Unicode.ttf', 'DejaVuSans.ttf')


def font_for(text, size, file=None):
    """A font for the text, of that size in pixels: the file, else Pillow's own, else one of the system that knows more letters."""
    return _font(size, file, latin=all(character <= '\u024f' for character in text))


@lru_cache
def _font(size, file, latin):
    if file:
        try:
            return ImageFont.truetype(file, size)
        except OSError as error:
            raise UserError(f'the font {file} cannot be read: {error}; wanted a file .ttf, .otf or .ttc') from None
    for name in () if latin else _FONTS:
        try:
            return ImageFont.truetype(name, size)
        except OSError:
            continue
    return ImageFont.load_default(size)


def cut(text, font, width):
    """The text, or as much of its beginning as is not wider than `width` pixels, with dots."""
    text = ''.join(character if character.isprintable() else '?' for character in text)
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + '...') > width:
        text = text[:-1]
    return text + '...'
