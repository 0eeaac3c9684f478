"""A contact sheet: PNG pages of thumbnails with their predictions."""
import re
from pathlib import Path

from PIL import Image, ImageDraw

from image_classification.errors import UserError
from image_classification.files import write_atomically
from image_classification.drawing.lettering import cut, font_for, unknown_letters

SIDE, GAP = 176, 12                        # pixels: side of a picture's square, distance between squares
COLUMNS, ROWS = 8, 8
_PAPER, _INK, _GREY, _FRAME = 'white', 'black', '#707070', '#d0d0d0'
_LINES = ((14, _INK), (14, _INK), (11, _GREY))                     # label, probability, name: size and colour
_TEXT = sum(size + 4 for size, _ in _LINES)                        # height of the lines in pixels


class ContactSheet:
    """Collects pictures one by one and writes each page as soon as it is full. Only the current page is in memory.

    Attributes: `pages`, the paths of the pages written so far; `unknown_letters`, letters of labels that no installed font has.

    Args:
        path: the first page, .png; the others are <stem>-2.png, ... beside it.
        total: the number of pictures to come, which shapes a single page; None if unknown.
        font: a font file for the labels; by default an installed font that has their letters.
    Raises:
        UserError: the path does not end in .png, a page exists already, or the font cannot be read.
    """

    def __init__(self, path, total=None, font=None):
        self._path, self._font = Path(path), font
        if self._path.suffix.lower() != '.png':
            raise UserError(f'the contact sheet {path} does not end in .png; wanted a name that does, as it is written as PNG')
        if not self._path.parent.is_dir():
            raise UserError(f'{self._path.parent} is no folder; the contact sheet {path} cannot be written there')
        own = re.compile(rf'{re.escape(self._path.stem)}(-\d+)?{re.escape(self._path.suffix)}')
        present = sorted(file.name for file in self._path.parent.iterdir() if own.fullmatch(file.name))
        if present:
            raise UserError(f'{self._path.with_name(present[0])} exists; a contact sheet never overwrites. Remove it or choose '
                            'another name')
        self._columns = min(COLUMNS, -(-total // max(1, round(total ** 0.5 * 0.8)))) if total else COLUMNS
        self.pages, self.unknown_letters, self._count = [], set(), 0
        self._page = None
        font_for('', _LINES[0][0], font)                           # refuses a file that is not a font at once

    def add(self, picture, label, probability, name):
        """Put a PIL image from `thumbnail` on the page; `probability` is that of the class `label`, 0 to 1."""
        if self._page is None:
            size = self._size(self._columns, ROWS)
            self._page = Image.new('RGB', size, _PAPER)
        row, column = divmod(self._count, self._columns)
        left, top = GAP + column * (SIDE + GAP), GAP + row * (SIDE + _TEXT + GAP)
        pen = ImageDraw.Draw(self._page)
        pen.rectangle([left, top, left + SIDE - 1, top + SIDE - 1], outline=_FRAME)
        self._page.paste(picture, (left + (SIDE - picture.width) // 2, top + (SIDE - picture.height) // 2))
        top += SIDE + 2
        for text, (size, colour) in zip((label, f'{100 * probability:.1f} %', Path(name).name), _LINES):
            font = font_for(text, size, self._font)
            pen.text((left, top), cut(text, font, SIDE), colour, font)
            if not text.isascii():
                self.unknown_letters.update(unknown_letters(font, text))
            top += size + 4
        self._count += 1
        if self._count == self._columns * ROWS:
            self._write()

    def close(self):
        """Write the last page."""
        if self._count:
            self._write()

    def _write(self):
        number = len(self.pages) + 1
        path = self._path if number == 1 else self._path.with_name(f'{self._path.stem}-{number}{self._path.suffix}')
        page = self._page.crop((0, 0, *self._size(min(self._count, self._columns), -(-self._count // self._columns))))
        write_atomically(path, lambda temporary: page.save(temporary, 'PNG'), 'Choose another --contact-sheet.')
        self.pages.append(path)
        self._page, self._count = None, 0

    @staticmethod
    def _size(columns, rows):
        return GAP + columns * (SIDE + GAP), GAP + rows * (SIDE + _TEXT + GAP)


def thumbnail(image, side=SIDE):
    """Scale a PIL image to fit into a square of `side` pixels, RGB. Small images are enlarged without smoothing."""
    scale = side / max(image.size)
    size = [max(1, round(length * scale)) for length in image.size]
    kind = Image.Resampling.NEAREST if scale >= 2 else Image.Resampling.BICUBIC
    return image.resize(size, kind, reducing_gap=2).convert('RGB')
