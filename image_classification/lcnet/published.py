"""Key styles of published weights, see `image_classification/weights/key_styles.py`.

PaddleClas numbers its stages from 2 to 6. timm has one more: PaddleClas's last but one is both of timm's stages with 256
channels. Its network has no bias in the hidden layer, and a dropout that multiplies by 0.8 in evaluation. This factor is
multiplied into the classifier.
"""
from image_classification.weights.key_styles import Style

TIMM, PADDLECLAS = (('DESIGN', 'timm'),), (('DESIGN', 'paddleclas'),)
KEPT = 0.8                                                         # the dropout's factor of the features
LAYERS = {'conv_dw': 'dw_conv.conv', 'bn1': 'dw_conv.bn', r'se\.conv_reduce': 'se.conv1', r'se\.conv_expand': 'se.conv2',
          'conv_pw': 'pw_conv.conv', 'bn2': 'pw_conv.bn'}
FIRST_OF_FIVE = 2                                                  # blocks of timm's fourth stage; the fifth's follow them


def _paddleclas():
    rules = [(r'^conv_stem\.', 'conv1.conv.'), (r'^bn1\.', 'conv1.bn.'), (r'^conv_head\.', 'last_conv.'),
             (r'^classifier\.', 'fc.')]
    rules += [(rf'^(blocks\.\d\.\d)\.{ours}\.', rf'\1.{theirs}.') for ours, theirs in LAYERS.items()]
    rules += [(rf'^blocks\.4\.{i}\.', f'blocks5.{FIRST_OF_FIVE + i}.') for i in range(4)]
    rules += [(rf'^blocks\.{ours}\.', f'blocks{theirs}.') for ours, theirs in ((0, 2), (1, 3), (2, 4), (3, 5), (5, 6))]
    return Style(rules=tuple(rules), factors=(('classifier.weight', KEPT),), network=PADDLECLAS, paddle=True)


PUBLISHED = {'timm': Style(network=TIMM), 'paddleclas': _paddleclas()}


def styles(model):
    return PUBLISHED
