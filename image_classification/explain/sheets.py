"""The pictures that tools/explain.py writes: Grad-CAM beside the original, and a sheet for each kind of attention."""
import math

import numpy as np
from PIL import Image, ImageDraw

from image_classification.drawing.contact_sheet import thumbnail
from image_classification.drawing.heat import MARK, SIGNED, coloured, marked, overlay, sheet, squares

WIDE, CELL, MATRIX = 336, 104, 168                                 # pixels: side of a picture, of a cell, of a channel matrix


def cam_sheet(picture, box, evidences, names):
    """The original with its most probable class, followed by the heat map of each requested class.

    Args:
        picture: PIL image as it was read.
        box: the part of it that the network saw, (left, top, right, bottom).
        evidences: list of ClassEvidence, one per requested class.
        names: names of the classes.
    """
    small = thumbnail(picture, WIDE)
    scale = WIDE / max(picture.size)
    left, top, right, bottom = (round(edge * scale) for edge in box)
    box = (left, top, max(left + 1, right), max(top + 1, bottom))
    original = small.copy()
    if box == (0, 0, *small.size):
        box = None
    else:
        ImageDraw.Draw(original).rectangle([left, top, box[2] - 1, box[3] - 1], outline=MARK, width=2)
    predicted = int(np.argmax(evidences[0].probabilities))
    cells = [(original, f'prediction: {names[predicted]}, {100 * evidences[0].probabilities[predicted]:.1f} %')]
    for evidence in evidences:
        heat = 'heat for' if evidence.heat.any() else 'no heat for'
        cells.append((overlay(small, evidence.heat, box=box),
                      f'{heat}: {names[evidence.class_index]}, {100 * evidence.probability:.1f} %'))
    return sheet([('', cells)])


def attention_sheets(seen, maps, place):
    """{kind: RGB picture} of the result `maps` of `attention_maps`.

    Args:
        seen: PIL image as the network saw it.
        place: (row, column), 0 to 1, of the pixel to show if pixels attend to each other.
    """
    seen = thumbnail(seen, CELL)
    sheets = {}
    for kind, (title, draw) in _SHEETS.items():
        rows = [(_label(found), draw(found, seen, place)) for found in maps if found.kind == kind]
        if rows:
            sheets[kind] = sheet(rows, title)
    return sheets


def _label(found):
    return f'{found.layer}  {" x ".join(map(str, found.grid))}' if found.grid else found.layer


def _over(seen, weights):
    """(the weights as colours over the picture, the largest in red; the largest weight as text)."""
    largest = weights.max()
    return overlay(seen, weights / largest if largest > 0 else weights), _share(largest)


def _by_token(found, seen, place):
    count = found.weights.shape[1 if found.kind == 'tokens to map' else 2]
    by_token, cells = [found.over_picture(token) for token in range(count)], []
    for head in range(len(found.weights)):
        for token in range(count):
            picture, largest = _over(seen, by_token[token][head])
            cells.append((picture, f'h{head} t{token}  {largest}'))
    return cells


def _from_pixel(found, seen, place):
    query = found.query_at(*place)
    if query is None:
        return [(marked(seen, *place), 'left out here')]
    cells = []
    for head, weights in enumerate(found.over_picture(query)):
        picture, largest = _over(seen, weights)
        cells.append((marked(picture, *place), f'head {head}  {largest}'))
    return cells


def _matrices(found, seen, place):
    side, high = (CELL, 1.0) if found.kind == 'tokens' else (MATRIX, None)   # 1.0: with few tokens, equal shares look equal
    return [(squares(weights, side, high), f'head {head}  {_share(weights.max())}')
            for head, weights in enumerate(found.weights)]


def _kernels(found, seen, place):
    """The mean absolute kernel, which shows how local the kernels are, and all kernels side by side."""
    kernels = found.weights[0].reshape([-1, *found.grid])          # (C, k, k)
    mean = np.abs(kernels).mean(0)
    return [(squares(mean, CELL), f'mean {mean.max():.2g}'), (_mosaic(kernels), f'{len(kernels)} channels')]


def _mosaic(kernels, columns=32, scale=6):
    """Kernels (C, k, k) -> RGB picture with `columns` kernels in a row. Each kernel's largest weight has the full colour."""
    count, high, wide = kernels.shape
    high, wide = high * scale, wide * scale
    page = Image.new('RGB', (columns * (wide + 2), math.ceil(count / columns) * (high + 2)), 'white')
    for i, kernel in enumerate(kernels):
        tile = Image.fromarray(coloured((kernel / (np.abs(kernel).max() or 1) + 1) / 2, SIGNED))
        tile = tile.resize((wide, high), Image.Resampling.NEAREST)
        page.paste(tile, (i % columns * (wide + 2), i // columns * (high + 2)))
    return page


def _share(value):
    return f'{100 * value:.0f} %' if value >= 0.1 else f'{100 * value:.2g} %'


_SHEETS = {                                # kind: (title, function (found, seen, place) that makes the cells of a layer)
    'tokens to map': ('tokens attend to the map: weights of each token, by block, head (h) and token (t); red is the largest '
                      'weight of a cell, given below it', _by_token),
    'map to tokens': ('the map attends to the tokens: weights of each pixel for a token, by block, head (h) and token (t)',
                      _by_token),
    'tokens': ('tokens attend to each other: a row of squares for each query, by block and head; dark blue is 0 %, red 100 %',
               _matrices),
    'pixels': ('pixels attend to each other: weights of the ringed pixel, by block and head', _from_pixel),
    'windows': ('pixels of a window attend to each other, heads in a cascade: weights of the ringed pixel, by block and head; '
                'the rest goes to padding', _from_pixel),
    'channels': ('channels attend to each other: a row of squares for each query, by block and head', _matrices),
    'kernels': ('local relations: the kernel of each channel, the same for every picture; red adds, blue subtracts', _kernels)}
