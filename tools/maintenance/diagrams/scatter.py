"""Plot of published accuracy over multiply-adds, one line per family, from the rows of docs/networks.md."""
import math
import re
from pathlib import Path

import image_classification

from diagrams.svg import FAINT, PAPER, Canvas, number

WIDTH, HEIGHT = 960, 570
LEFT, RIGHT, TOP, BOTTOM = 64, 36, 58, 512                        # of the axes, from the left, right (both), top and top
MACS, TOP1 = (16, 18000), (49, 86)                                 # ranges: millions, percent
ORANGE, BLUE, PALE = '#bc4c00', '#0969da', '#d0d7de'
# Families with a network on the Pareto front: (label, colour, start of the label: millions, percent). The others are pale.
SERIES = {
    'mobileformer_official': ('Mobile-Former', ORANGE, (50, 73.8)), 'lcnet': ('PP-LCNet', BLUE, (19, 51)),
    'mobilenet_v3': ('MobileNetV3', BLUE, (24, 56.5)), 'ghostnet': ('GhostNet', BLUE, (50, 64.6)),
    'levit': ('LeViT', ORANGE, (205, 79.6)), 'hgnet_v2': ('PP-HGNetV2', BLUE, (830, 84.5)),
    'efficientvit_mit': ('EfficientViT-B', ORANGE, (4300, 82.9)), 'efficientformer_v2': ('EfficientFormerV2', ORANGE, (480, 83.3)),
    'repvit': ('RepViT', BLUE, (4900, 83.9)), 'tiny_vit': ('TinyViT', ORANGE, (2600, 85.2))}
GROUPS = ((ORANGE, 'with attention'), (BLUE, 'convolutions alone'), (PALE, 'families that others surpass at their size'))
FAMILIES = [path.parent.name for path in Path(image_classification.__file__).parent.glob('*/model.py')]
SIDE_BY_SIDE = re.compile('_(bn_hs|dim64|ls)$')                    # variants as large as another one
BRANCHED = re.compile('^(mobileone|ghostnet_v3)')                  # the table has the multiply-adds of their training


def read_rows(table):
    """{name: (millions of multiply-adds, top-1)} for the rows of docs/networks.md that have an accuracy."""
    found = re.findall(r'^\| (\w+) \| [\d,]+ \| ([\d.]+) M \| [^|]+ \| ([\d.]+) % \|', table, re.M)
    return {name: (float(macs), float(top1)) for name, macs, top1 in found
            if not SIDE_BY_SIDE.search(name) and not BRANCHED.search(name)}


def position(macs, top1):
    low, high = (math.log(end) for end in MACS)
    x = LEFT + (math.log(macs) - low) / (high - low) * (WIDTH - LEFT - RIGHT)
    return x, BOTTOM - (top1 - TOP1[0]) / (TOP1[1] - TOP1[0]) * (BOTTOM - TOP)


def draw(table):
    """SVG text of the plot of docs/networks.md."""
    rows, canvas = read_rows(table), Canvas()
    canvas.text(24, 34, 'Published ImageNet top-1 over multiply-adds', 18, anchor='start', bold=True)
    axes(canvas)
    families = {}
    for name in rows:
        families.setdefault(family_of(name), []).append(position(*rows[name]))
    for family in sorted(families, key=lambda family: family in SERIES):       # the pale ones below
        colour, points = SERIES.get(family, ('', PALE))[1], sorted(families[family])
        canvas.wire(*points, colour=colour, width=2)
        for x, y in points:
            canvas.circle(x, y, 4.5, colour, '#ffffff')
    for label, colour, place in SERIES.values():                   # on top of all lines
        for ink, line in ((PAPER, PAPER), (colour, '')):
            canvas.text(*position(*place), label, 13, ink, 'start', bold=True, line=line)
    x = LEFT + 8
    for colour, words in GROUPS:
        canvas.circle(x, HEIGHT - 12, 5, colour, '#ffffff')
        canvas.text(x + 10, HEIGHT - 8, words, 12, FAINT, 'start')
        x += 40 + 6.4 * len(words)
    return canvas.finish(WIDTH, HEIGHT, 'Published ImageNet top-1 accuracy over multiply-adds of the networks of this library')


def family_of(name):
    """The longest name of a family's directory that fits."""
    return max((family for family in FAMILIES if name.startswith(family)), key=len)


def front(rows):
    """The names of the `rows` on the Pareto front: no other row is better with as few multiply-adds."""
    return [name for name, (macs, top1) in rows.items()
            if not any(other != (macs, top1) and other[0] <= macs and other[1] >= top1 for other in rows.values())]


def axes(canvas):
    for macs in (20, 50, 100, 200, 500, 1000, 2000, 5000, 10000):
        x, y = position(macs, TOP1[0])
        canvas.wire((x, y), (x, TOP), colour='#e6e9ec', width=1)
        canvas.text(x, y + 18, f'{number(macs / 1000)} G' if macs >= 1000 else f'{macs} M', 12, FAINT)
    for top1 in range(50, 86, 5):
        x, y = position(MACS[0], top1)
        canvas.wire((x, y), (position(MACS[1], top1)[0], y), colour='#e6e9ec', width=1)
        canvas.text(x - 8, y + 4, f'{top1} %', 12, FAINT, 'end')
