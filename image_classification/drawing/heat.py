"""Draws heat maps over pictures, and sheets of such pictures, with Pillow only."""
import numpy as np
from PIL import Image, ImageDraw

from image_classification.drawing.lettering import cut, font_for

# From 0 to the maximum: dark blue, blue, cyan, green, yellow, orange, red.
HEAT = np.array([(20, 20, 100), (40, 110, 230), (40, 205, 215), (110, 225, 100), (250, 220, 60), (245, 120, 30), (165, 15, 10)])
# From the most negative through 0 to the most positive.
SIGNED = np.array([(20, 60, 160), (120, 160, 225), (245, 245, 245), (230, 130, 120), (175, 20, 30)])
GAP, LINE, SIZE = 6, 18, 13                                        # pixels: gap between cells, height of a line, font size
MARK, _PAPER, _INK = (255, 0, 255), 'white', 'black'


def coloured(values, colours=HEAT):
    """Values (H, W) from 0 to 1 -> colours (H, W, 3) uint8. Values outside are clipped; NaN counts as 0."""
    values = np.clip(np.nan_to_num(np.asarray(values, np.float64)), 0, 1) * (len(colours) - 1)
    steps = np.arange(len(colours))
    return np.stack([np.rint(np.interp(values, steps, colours[:, i])) for i in range(3)], axis=-1).astype(np.uint8)


def overlay(picture, heat, strength=0.5, box=None):
    """A picture with a heat map drawn over it: RGB, at the picture's size.

    Args:
        picture: PIL image, of any size and mode.
        heat: (H, W), 0 to 1.
        strength: 0 shows the picture alone, 1 the heat alone.
        box: the part (left, top, right, bottom) that the heat map covers; the rest is darkened. By default the whole picture.
    """
    picture = picture.convert('RGB')
    left, top, right, bottom = box or (0, 0, *picture.size)
    size = (max(1, right - left), max(1, bottom - top))
    heat = Image.fromarray(np.asarray(heat, np.float32)).resize(size, Image.Resampling.BILINEAR)
    inside = Image.blend(picture.crop((left, top, left + size[0], top + size[1])), Image.fromarray(coloured(heat)), strength)
    result = Image.blend(picture, Image.new('RGB', picture.size), 0.6) if box else picture.copy()
    result.paste(inside, (left, top))
    return result


def squares(values, side, high=None):
    """Non-negative values (h, w) as coloured squares: an RGB picture whose longer side has at most about `side` pixels. `high`
    is the value of the last colour, by default the largest value."""
    high = np.max(values) if high is None else high
    picture = Image.fromarray(coloured(values / high if high > 0 else values))
    scale = max(1, side // max(picture.size))
    return picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.NEAREST)


def marked(picture, row, column):
    """A copy with a ring at a position; `row` and `column` are 0 to 1, from the top and from the left."""
    copy = picture.copy()
    x, y, radius = column * copy.width, row * copy.height, max(3, max(copy.size) // 24)
    ImageDraw.Draw(copy).ellipse([x - radius, y - radius, x + radius, y + radius], outline=MARK, width=max(2, radius // 3))
    return copy


def sheet(rows, title=''):
    """One RGB picture with rows of captioned cells.

    Args:
        rows: list of (label in front of the row, list of (PIL image or None for an empty cell, caption below it)).
        title: a line at the top.
    """
    across = max(len(row) for _, row in rows)
    widths = [max([row[i][0].width for _, row in rows if i < len(row) and row[i][0]], default=LINE) for i in range(across)]
    heights = [max([image.height for image, _ in row if image], default=LINE) for _, row in rows]
    margin = max([int(font_for(label, SIZE).getlength(label)) + GAP for label, _ in rows if label], default=0)
    lefts = [GAP + margin + sum(widths[:i]) + i * GAP for i in range(across + 1)]
    top = GAP + (LINE + GAP if title else 0)
    width = max(lefts[-1], int(font_for(title, SIZE).getlength(title)) + 2 * GAP + 1)
    page = Image.new('RGB', (width, top + sum(heights) + len(rows) * (LINE + GAP)), _PAPER)
    pen = ImageDraw.Draw(page)

    def write(x, y, text, room):
        font = font_for(text, SIZE)
        pen.text((x, y), cut(text, font, room), _INK, font)

    write(GAP, GAP, title, width)
    for (label, row), height in zip(rows, heights):
        write(GAP, top, label, margin)
        for left, width, (image, caption) in zip(lefts, widths, row):
            if image:
                page.paste(image, (left, top))
            write(left, top + (image.height if image else 0) + 1, caption, width)
        top += height + LINE + GAP
    return page
