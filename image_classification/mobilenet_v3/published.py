"""Key styles of published weights, see `image_classification/weights/key_styles.py`.

torchvision numbers all blocks consecutively, timm within each stage. timm names a block's layers. Its first hidden layer of the
classifier is a 1x1 convolution, and its batch norms have an epsilon of 1e-5. timm's weights called `tf_` do not fit: they need
TensorFlow's padding, which is one-sided for stride 2.

paddle.vision and PaddleClas also name a block's layers. PaddleClas has another network, in which all blocks expand. It has an
epsilon of 1e-5, a dropout that multiplies by 0.8 in evaluation, and gates of slope 0.2 instead of 1/6. These factors are
multiplied into the weights.
"""
import re

from image_classification.mobilenet_v3.model import SqueezeExcitation
from image_classification.weights.key_styles import Style

DEPTHS = {15: (1, 2, 3, 4, 2, 3), 11: (1, 2, 3, 2, 3)}             # blocks of each stage of large and of small
FIRST = {r'0\.0': 'conv_dw', r'0\.1': 'bn1', r'1\.fc1': 'se.conv_reduce', r'1\.fc2': 'se.conv_expand',
         r'[12]\.0': 'conv_pw', r'[12]\.1': 'bn2'}                 # no expansion, and no gates in `large`
OTHERS = {r'0\.0': 'conv_pw', r'0\.1': 'bn1', r'1\.0': 'conv_dw', r'1\.1': 'bn2', r'2\.fc1': 'se.conv_reduce',
          r'2\.fc2': 'se.conv_expand', r'[23]\.0': 'conv_pwl', r'[23]\.1': 'bn3'}


PAPER, PADDLECLAS = (('DESIGN', 'paper'),), (('DESIGN', 'paddleclas'),)
KEPT, STEEPER = 0.8, 1.2                                           # factor of the dropout; ratio of the slopes 0.2 and 1 / 6


def _timm(blocks):
    depths = DEPTHS[blocks]
    rules = [(r'^features\.0\.0\.', 'conv_stem.'), (r'^features\.0\.1\.', 'bn1.'),
             (rf'^features\.{blocks + 1}\.0\.', f'blocks.{len(depths)}.0.conv.'),
             (rf'^features\.{blocks + 1}\.1\.', f'blocks.{len(depths)}.0.bn1.'),
             (r'^classifier\.0\.', 'conv_head.'), (r'^classifier\.3\.', 'classifier.')]
    places = [(stage, i) for stage, depth in enumerate(depths) for i in range(depth)]
    for number, (stage, i) in enumerate(places, 1):
        rules += [(rf'^features\.{number}\.block\.{ours}\.', f'blocks.{stage}.{i}.{theirs}.')
                  for ours, theirs in (FIRST if number == 1 else OTHERS).items()]
    return Style(rules=tuple(rules), convolutions=('conv_head.weight',), epsilon=1e-5, network=PAPER)


def _blocks(model):
    """Yields (index of a block in `features`, index of a layer in the block, the layer's name in Paddle's code)."""
    for number, block in enumerate(list(model.features)[1:-1], 1):
        layers, names = list(block.block), ['linear_conv']
        if isinstance(layers[-2], SqueezeExcitation):
            names.insert(0, 'mid_se')
        names.insert(0, 'bottleneck_conv')
        names = ['expand_conv'] * (len(layers) - len(names)) + names
        yield from ((number, i, name) for i, name in enumerate(names))


def _paddle_vision(model):
    rules = [(r'^features\.0\.', 'conv.'), (rf'^features\.{len(model.features) - 1}\.', 'lastconv.')]
    rules += [(rf'^features\.{number}\.block\.{i}\.', f'blocks.{number - 1}.{name}.') for number, i, name in _blocks(model)]
    return Style(rules=tuple(rules), network=PAPER, paddle=True)


def _paddleclas(model):
    last, factors = len(model.features) - 1, [('classifier.3.weight', KEPT)]
    rules = [(r'^features\.0\.0\.', 'conv.conv.'), (r'^features\.0\.1\.', 'conv.bn.'),
             (rf'^features\.{last}\.0\.', 'last_second_conv.conv.'), (rf'^features\.{last}\.1\.', 'last_second_conv.bn.'),
             (r'^classifier\.0\.', 'last_conv.'), (r'^classifier\.3\.', 'fc.')]
    for number, i, name in _blocks(model):
        ours, theirs = rf'features.{number}.block.{i}.', f'blocks.{number - 1}.{name}.'
        layers = {'fc1': 'conv1', 'fc2': 'conv2'} if name == 'mid_se' else {'0': 'conv', '1': 'bn'}
        rules += [(f'^{re.escape(ours)}{layer}\\.', f'{theirs}{other}.') for layer, other in layers.items()]
        if name == 'mid_se':
            factors += [(f'{ours}fc2.weight', STEEPER), (f'{ours}fc2.bias', STEEPER)]
    return Style(rules=tuple(rules), convolutions=('last_conv.weight',), epsilon=1e-5, factors=tuple(factors),
                 network=PADDLECLAS, paddle=True)


TIMM = {blocks: _timm(blocks) for blocks in DEPTHS}


def styles(model):
    return {'torchvision': Style(network=PAPER), 'timm': TIMM[len(model.features) - 2], 'paddleclas': _paddleclas(model),
            'paddle_vision': _paddle_vision(model)}
