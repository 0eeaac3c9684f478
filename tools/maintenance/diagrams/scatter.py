"""Published accuracy over multiply-adds, one line for each family: from the rows of docs/networks.md."""
import math
import re

from diagrams.svg import FAINT, PAPER, Canvas, number

WIDTH, HEIGHT = 960, 570
LEFT, RIGHT, TOP, BOTTOM = 64, 36, 58, 512                        # of the axes, from the left, right (both), top and top
MACS, TOP1 = (16, 18000), (49, 86)                                 # ranges: millions, percent
BLUE, ORANGE, GREEN, GREY = '#0969da', '#bc4c00', '#1a7f37', '#6e7781'
COLUMN = 900                                                       # where labels of the crowd at 500 M stand, with a line
# How names begin: (label, colour, where the label begins: millions, percent).
SERIES = {
    'mobileformer_official': ('Mobile-Former', ORANGE, (330, 79.9)), 'edgenext': ('EdgeNeXt', ORANGE, (4200, 81.8)),
    'uniformer': ('UniFormer', ORANGE, (9000, 83.9)), 'efficientvit': ('EfficientViT-M', ORANGE, (COLUMN, 76.65)),
    'mobilenet_v1': ('MobileNetV1', BLUE, (610, 69.9)), 'mobilenet_v2': ('MobileNetV2', BLUE, (COLUMN, 73.1)),
    'mobilenet_v3': ('MobileNetV3', BLUE, (20.5, 55.7)), 'mobilenext': ('MobileNeXt', BLUE, (COLUMN, 74.3)),
    'efficientnet_lite': ('EfficientNet-Lite', BLUE, (1750, 78.9)), 'fastvit': ('FastViT', ORANGE, (2050, 80.4)),
    'mobilenet_v4': ('MobileNetV4', BLUE, (5200, 83.4)), 'lcnet': ('PP-LCNet', BLUE, (17.5, 50.2)),
    'hgnet_v2': ('PP-HGNetV2', GREEN, (1900, 82.6)), 'mobilevit': ('MobileViT', ORANGE, (1900, 77.4)),
    'efficientvit_mit': ('EfficientViT-B', ORANGE, (4300, 84.6)),
    'ghostnet_v1': ('GhostNet', BLUE, (44, 66.6)), 'ghostnet_v2': ('GhostNetV2', BLUE, (290, 78.4)),
    'repvit': ('RepViT', BLUE, (3300, 84.3)), 'starnet': ('StarNet', BLUE, (1100, 77.6)),
    'shufflenet_v1_g3': ('ShuffleNet V1', GREEN, (COLUMN, 71.9)), 'shufflenet_v2': ('ShuffleNet V2', GREEN, (COLUMN, 75.5)),
    'googlenet': ('GoogLeNet', GREY, (1600, 69.5)), 'inception_v3': ('Inception v3', GREY, (4000, 75.8)),
    'inception_v4': ('Inception-v4', GREY, (8700, 81.1)), 'xception': ('Xception', GREY, (9000, 78.6))}
GROUPS = ((ORANGE, 'convolution and attention'), (BLUE, 'other convolutions for phones'), (GREEN, 'ShuffleNets'),
          (GREY, 'large, for comparison'))
SIDE_BY_SIDE = re.compile('_(bn_hs|dim64|ls)$')                    # variants as large as another one


def read_rows(table):
    """{name: (millions of multiply-adds, top-1)} of the rows of docs/networks.md that have an accuracy."""
    found = re.findall(r'^\| (\w+) \| [\d,]+ \| ([\d.]+) M \| [^|]+ \| ([\d.]+) % \|', table, re.M)
    return {name: (float(macs), float(top1)) for name, macs, top1 in found if not SIDE_BY_SIDE.search(name)}


def position(macs, top1):
    low, high = (math.log(end) for end in MACS)
    x = LEFT + (math.log(macs) - low) / (high - low) * (WIDTH - LEFT - RIGHT)
    return x, BOTTOM - (top1 - TOP1[0]) / (TOP1[1] - TOP1[0]) * (BOTTOM - TOP)


def draw(table):
    """SVG text of the plot of docs/networks.md."""
    rows, canvas = read_rows(table), Canvas()
    canvas.text(24, 34, 'Published ImageNet top-1 over multiply-adds', 18, anchor='start', bold=True)
    axes(canvas)
    labels = []
    for start, (label, colour, place) in SERIES.items():
        points = sorted(position(*rows[name]) for name in rows if owner(name) == start)
        canvas.wire(*points, colour=colour, width=2)
        for x, y in points:
            canvas.circle(x, y, 4.5, colour, '#ffffff')
        labels.append((label, colour, points[-1], place))
    for label, colour, end, place in labels:                       # on top of all lines
        x, y = position(*place)
        if place[0] == COLUMN:
            canvas.wire(end, (x - 4, y - 4), colour=colour, width=0.8)
        for ink, line in ((PAPER, PAPER), (colour, '')):
            canvas.text(x, y, label, 13, ink, 'start', bold=True, line=line)
    x = LEFT + 8
    for colour, words in GROUPS:
        canvas.circle(x, HEIGHT - 12, 5, colour, '#ffffff')
        canvas.text(x + 10, HEIGHT - 8, words, 12, FAINT, 'start')
        x += 40 + 6.4 * len(words)
    return canvas.finish(WIDTH, HEIGHT, 'Published ImageNet top-1 accuracy over multiply-adds of the networks of this library')


def owner(name):
    """The longest beginning in SERIES that fits, or None."""
    return max((start for start in SERIES if name.startswith(start)), key=len, default=None)


def axes(canvas):
    for macs in (20, 50, 100, 200, 500, 1000, 2000, 5000, 10000):
        x, y = position(macs, TOP1[0])
        canvas.wire((x, y), (x, TOP), colour='#e6e9ec', width=1)
        canvas.text(x, y + 18, f'{number(macs / 1000)} G' if macs >= 1000 else f'{macs} M', 12, FAINT)
    for top1 in range(50, 86, 5):
        x, y = position(MACS[0], top1)
        canvas.wire((x, y), (position(MACS[1], top1)[0], y), colour='#e6e9ec', width=1)
        canvas.text(x - 8, y + 4, f'{top1} %', 12, FAINT, 'end')
