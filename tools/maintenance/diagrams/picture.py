"""A family's picture: the network as a row of stages, its blocks below, and a legend of the colours."""
from dataclasses import dataclass, field

from diagrams.nodes import COLOURS, SIZE, SMALL, opens_with_box
from diagrams.svg import FAINT, Canvas, width_of

MARGIN, SPACE = 24, 40


@dataclass
class Picture:
    """The contents of a family's picture.

    Args:
        title: the heading.
        model: the variant whose stages are drawn.
        stages: for each map that `features_only` gives, the layers that lead to it, as lines of words.
        ends: the layers behind the last map, likewise.
        blocks: [(caption, node), ...].
    """

    title: str
    model: str
    stages: list
    ends: list
    blocks: list = field(default_factory=list)


def draw(picture, image_shape, shapes):
    """SVG text. `image_shape` is (C, H, W) of the input, `shapes` those of the maps behind each stage."""
    canvas = Canvas()
    canvas.text(MARGIN, 34, picture.title, 18, anchor='start', bold=True)
    canvas.text(MARGIN + width_of(picture.title, 18) + 24, 34, f'stages of {picture.model}', SIZE, FAINT, 'start')
    columns = [(['picture'], size(image_shape)), *((lines, size(shape)) for lines, shape in zip(picture.stages, shapes)),
               *((lines, '') for lines in picture.ends)]
    width, y = row(canvas, columns, 54)
    x, bottom = MARGIN, y
    for caption, node in picture.blocks:
        reach = max(node.left + node.right, width_of(caption, SIZE) * 1.08)
        canvas.text(x, y + 14, caption, SIZE, anchor='start', bold=True)
        axis = x + node.left
        canvas.wire((axis, y + 24), (axis, y + 42), arrow=opens_with_box(node))
        node.draw(canvas, axis, y + 42)
        canvas.wire((axis, y + 42 + node.height), (axis, y + 60 + node.height), arrow=True)
        x, bottom = x + reach + SPACE, max(bottom, y + 70 + node.height)
    width = max(width, x - SPACE + MARGIN)
    kinds = set().union(*(node.kinds() for _, node in picture.blocks))
    right, bottom = legend(canvas, [kind for kind in COLOURS if kind in kinds], bottom + 12, width)
    return canvas.finish(max(width, right), bottom, f'{picture.title}: the network and its blocks')


def size(shape):
    channels, height, width = shape
    return f'{channels} x {height} x {width}'


def row(canvas, columns, y):
    """Stages as boxes with arrows; the shape of what leaves a box below it. Returns the picture's width and the next y."""
    height = 16 * max(len(lines) for lines, _ in columns) + 14
    x = MARGIN
    for i, (lines, shape) in enumerate(columns):
        width = max(*(width_of(words, SMALL + 1) for words in [*lines, shape])) + 18
        if i:
            canvas.wire((x, y + height / 2), (x + 18, y + height / 2), arrow=True)
            x += 18
        canvas.rectangle(x, y, width, height, '#f6f8fa')
        first = y + height / 2 - 8 * len(lines) + 12
        for j, words in enumerate(lines):
            canvas.text(x + width / 2, first + 16 * j, words, SMALL + 1)
        canvas.text(x + width / 2, y + height + 16, shape, SMALL, FAINT)
        x += width
    return x + MARGIN, y + height + 40


def legend(canvas, kinds, y, width):
    """Squares of colour and their names, on as many lines as they need. Returns the right edge and the picture's height."""
    x, right = MARGIN, 0
    for kind in kinds:
        colour, words = COLOURS[kind]
        step = width_of(words, SMALL) + 36
        if x > MARGIN and x + step > width - MARGIN:
            x, y = MARGIN, y + 20
        canvas.rectangle(x, y, 12, 12, colour, radius=2)
        canvas.text(x + 18, y + 10, words, SMALL, FAINT, 'start')
        x, right = x + step, max(right, x + step)
    return right, y + 12 + MARGIN
