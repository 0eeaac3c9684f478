"""Key styles of published weights, see `image_classification/weights/key_styles.py`.

timm and torchvision use the same names. Of timm's weights, only those ported from torchvision have the auxiliary head.

PaddleClas and paddle.vision number the blocks consecutively. They have no auxiliary head, batch norms with an epsilon of 1e-5,
and a dropout that multiplies by 0.8 in evaluation. Here this factor is multiplied into the classifier.
"""
from image_classification.weights.key_styles import Style

BLOCKS = ('5b', '5c', '5d', '6a', '6b', '6c', '6d', '6e', '7a', '7b', '7c')
SUITED = (('EPSILON', 1e-5),)
KEPT = 0.8                                                         # the dropout's factor of the features


def _of_paddle(conv, norm):
    rules = [(r'^Conv2d_', 'inception_stem.conv_'), (r'\.branch_pool\.', '.branch_pool_conv.')]
    rules += [(rf'^Mixed_{block}\.', f'inception_block_list.{number}.') for number, block in enumerate(BLOCKS)]
    rules += [(r'\.conv\.(?=\w+$)', f'.{conv}.'), (r'\.bn\.(?=\w+$)', f'.{norm}.')]
    return Style(rules=tuple(rules), epsilon=1e-5, absent=('AuxLogits.',), factors=(('fc.weight', KEPT),), suited=SUITED,
                 paddle=True)


def styles(model):
    style = Style(optional=('AuxLogits.',))
    return {'torchvision': style, 'timm': style, 'paddleclas': _of_paddle('conv', 'bn'), 'paddle_vision': _of_paddle('0', '1')}
