"""Dilation patterns of IC-ResNet: the dilations of the output channels of each 3x3 convolution.

A pattern is a list with one entry per 3x3 convolution, in network order. An entry lists the branches (dilation in H, dilation
in W, output channels) in the order in which their outputs are concatenated.

Each line of `GRIDS` is one convolution: the number of channels with dilation (1, 1), (1, 2), ... (D, D); zero means no branch.
These are the authors' patterns for Faster R-CNN (`ic_resnet50`, `ic_resnet101`) and for bottom-up human pose
(`ic_resnet50_k13`). The k in a name is the largest extent of a kernel: 9 with dilations up to 4, 13 with dilations up to 6.
"""
import json
import math
import re
from pathlib import Path

from image_classification.errors import UserError
from image_classification.files import write_atomically

GRIDS = {
    'ic_resnet50': '''
        42 5 1 4 4 0 0 0 3 0 1 1 2 0 0 1
        30 6 1 1 9 4 1 0 1 0 1 0 5 4 0 1
        41 5 0 3 1 0 0 1 3 0 0 0 7 1 0 2
        77 9 1 3 4 4 4 2 3 1 2 3 8 2 2 3
        65 3 3 4 9 7 5 1 2 2 2 5 3 2 2 13
        69 5 4 6 5 6 0 2 3 2 1 1 5 2 1 16
        57 9 12 3 9 6 4 2 4 3 2 2 5 3 3 4
        95 29 9 6 26 16 11 4 12 7 7 7 11 3 4 9
        84 14 8 17 16 7 5 6 9 7 9 7 18 5 8 36
        92 11 11 17 15 19 1 7 20 5 3 8 12 10 5 20
        88 29 8 19 18 8 6 7 12 2 2 5 13 8 4 27
        111 14 8 16 15 11 6 9 13 2 6 9 14 7 3 12
        105 21 6 22 16 7 5 7 11 3 2 7 25 2 6 11
        134 53 32 23 66 31 15 23 30 20 7 10 33 12 10 13
        143 39 22 56 29 19 4 14 23 14 6 17 37 14 16 59
        206 32 15 63 46 36 3 9 17 5 3 8 30 11 4 24
    ''',
    'ic_resnet50_k13': '''
        39 1 5 2 0 3 2 0 0 0 0 1 3 1 0 0 0 0 0 1 0 0 0 0 1 0 1 0 0 1 1 0 0 0 1 1
        38 3 1 0 1 2 3 3 1 0 1 1 0 1 1 1 0 0 2 0 0 0 0 1 1 0 0 0 0 0 1 1 0 0 0 1
        26 4 3 0 2 4 5 7 1 1 0 0 0 1 0 0 0 1 4 0 0 0 0 0 0 1 0 0 0 0 3 0 0 0 1 0
        67 9 5 1 0 0 9 4 1 0 2 1 6 3 4 0 0 1 2 1 0 0 1 0 0 1 0 1 1 1 1 2 0 1 2 1
        65 5 1 2 1 3 5 6 0 1 1 2 1 1 2 0 0 2 3 0 1 0 0 0 3 0 1 0 0 0 1 0 2 2 0 17
        62 9 2 1 2 2 6 6 2 1 1 3 4 0 3 1 0 1 2 0 1 1 2 2 2 1 0 1 0 2 2 0 1 0 1 4
        60 5 3 1 0 5 8 3 1 0 0 4 2 0 4 0 0 4 2 0 5 1 0 0 2 3 1 0 1 4 2 2 1 1 0 3
        119 12 13 9 3 6 24 6 2 1 1 4 5 4 6 2 1 0 10 3 4 0 0 0 3 1 3 2 0 0 3 2 1 1 3 2
        126 11 7 3 3 9 9 6 2 1 2 3 8 1 1 2 1 1 6 2 0 1 1 3 8 0 2 0 0 2 6 4 1 1 1 22
        103 14 7 9 3 5 19 8 2 2 2 5 10 2 2 0 0 4 5 1 1 1 3 2 7 2 2 2 0 3 10 7 3 2 2 6
        129 26 4 5 1 8 19 12 2 1 1 3 5 3 1 0 3 0 2 1 0 0 0 2 5 2 0 1 3 2 3 2 2 2 1 5
        136 27 10 4 0 6 21 4 3 3 1 3 5 0 2 0 0 2 4 1 2 0 1 3 3 0 1 0 0 0 6 3 1 1 0 3
        129 23 5 10 5 3 22 17 4 2 1 6 4 1 2 0 0 1 1 0 0 0 2 1 4 0 0 2 1 2 2 5 1 0 0 0
        210 27 10 3 6 3 64 45 7 12 10 10 14 11 3 2 4 1 5 5 2 3 3 3 10 10 0 1 1 2 11 7 0 2 2 3
        178 34 17 19 13 11 36 8 7 2 2 3 32 8 2 2 1 1 18 5 2 5 1 0 22 3 7 3 1 3 32 14 7 0 7 6
        438 14 1 0 1 13 23 1 1 0 0 1 6 0 0 0 0 2 5 0 0 0 0 1 1 0 0 0 0 1 0 0 0 0 2 1
    ''',
    'ic_resnet101': '''
        34 3 6 4 3 0 0 1 2 0 1 1 2 4 1 2
        26 2 0 4 6 3 1 2 3 1 2 4 3 2 1 4
        24 7 5 5 9 3 2 0 3 2 1 0 1 0 2 0
        57 15 5 3 13 6 0 7 5 1 3 1 4 1 2 5
        45 10 2 10 8 10 2 4 1 4 0 6 4 4 2 16
        49 8 4 8 10 10 3 1 3 4 2 3 7 7 2 7
        57 17 6 8 8 5 0 2 5 2 2 4 9 0 1 2
        111 34 8 9 24 14 5 1 13 2 8 7 11 5 3 1
        97 13 15 18 15 6 3 10 13 1 3 7 14 4 2 35
        120 17 18 14 14 8 3 9 15 1 2 10 8 5 2 10
        128 23 15 9 11 8 8 8 10 1 5 0 8 8 2 12
        141 26 9 7 21 4 2 6 13 4 0 7 9 5 0 2
        136 16 8 10 12 13 3 13 10 4 5 3 8 8 4 3
        113 26 12 9 17 11 3 4 22 2 5 5 14 6 2 5
        94 23 7 18 13 22 3 10 8 4 4 5 10 7 6 22
        109 33 16 10 26 9 7 6 9 7 4 3 6 4 3 4
        119 25 13 18 11 13 5 13 8 6 3 4 8 2 2 6
        131 17 10 8 16 14 4 10 3 5 1 4 8 6 5 14
        114 31 5 19 17 9 1 8 11 3 3 7 9 6 5 8
        103 14 8 12 15 14 2 16 8 5 4 2 21 13 5 14
        110 27 8 14 21 17 6 10 8 6 4 4 7 6 4 4
        115 17 7 11 22 20 7 4 11 2 6 9 11 9 5 0
        112 33 12 11 19 15 3 6 8 5 4 6 8 7 1 6
        131 18 9 10 12 23 5 7 8 5 3 0 8 9 4 4
        96 20 5 13 20 32 4 10 7 4 4 8 9 13 1 10
        121 12 6 9 22 27 5 8 11 3 4 1 11 11 1 4
        106 18 11 9 25 15 3 6 13 9 10 3 17 5 0 6
        108 18 14 15 17 11 3 11 9 9 3 3 10 10 5 10
        94 26 10 13 26 22 1 10 10 6 2 3 9 8 6 10
        79 23 11 17 16 21 3 2 16 4 5 6 20 13 3 17
        140 31 22 22 103 46 18 17 29 10 4 4 26 24 6 10
        180 38 26 45 36 24 14 13 25 17 8 16 20 16 12 22
        60 32 5 35 71 74 5 15 18 8 2 11 35 35 10 96
    ''',
}


def load_pattern(name):
    """The pattern with this name in `GRIDS`, or in this .json file."""
    if name.endswith('.json'):
        return read_pattern(name)
    if name not in GRIDS:
        raise UserError(f'MODEL.IC.PATTERN is {name!r}; wanted one of {", ".join(GRIDS)}, or the path of a .json file')
    rows = [[int(count) for count in line.split()] for line in GRIDS[name].strip().splitlines()]
    side = math.isqrt(len(rows[0]))
    return [[(i // side + 1, i % side + 1, count) for i, count in enumerate(row) if count] for row in rows]


def read_pattern(path):
    """The pattern in a .json file of the authors' format: a list of objects {"(i, j)": channels}, dilation (i + 1, j + 1).

    Raises:
        UserError: the file is missing or of another format.
    """
    try:
        layers = json.loads(Path(path).read_text(encoding='utf-8'))
    except OSError as error:
        raise UserError(f'no dilation pattern at {path}: {error.strerror}') from None
    except ValueError as error:                                    # no json, or no text
        raise UserError(f'{path} is damaged or no json: {error}') from None
    if not isinstance(layers, list) or not all(isinstance(layer, dict) for layer in layers):
        raise UserError(f'{path} is no dilation pattern; wanted a list of objects, one per 3x3 convolution')
    return [[branch for key, channels in layer.items() if (branch := _branch(key, channels, path))[2]] for layer in layers]


def write_pattern(pattern, path):
    """Write a pattern in the format of `read_pattern`. A reader of `path` sees either the old file or the new one.

    Raises:
        UserError: the file cannot be written, or a convolution has two branches with the same dilation, which is a json key.
    """
    layers = [{f'({h - 1}, {w - 1})': channels for h, w, channels in branches} for branches in pattern]
    for i, (layer, branches) in enumerate(zip(layers, pattern)):
        if len(layer) != len(branches):
            raise UserError(f'convolution {i} has {len(branches)} branches of {len(layer)} dilations; wanted one for each')
    write_atomically(path, lambda temporary: temporary.write_text(json.dumps(layers, indent=1) + '\n', encoding='utf-8'))


def _branch(key, channels, path):
    """"(0, 2)", 5 -> (1, 3, 5)"""
    dilations = re.fullmatch(r'\(\s*(\d+)\s*,\s*(\d+)\s*\)', key)
    if not dilations or type(channels) is not int or channels < 0:
        raise UserError(f'{path} has the entry {json.dumps(key)}: {json.dumps(channels)}; wanted "(i, j)": number of channels')
    return int(dilations[1]) + 1, int(dilations[2]) + 1, channels
