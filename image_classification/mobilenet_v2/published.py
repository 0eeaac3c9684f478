"""Key styles of published weights, see `image_classification/weights/key_styles.py`.

torchvision numbers all blocks through, timm within each stage; timm names a block's layers, the first block's otherwise since
it does not expand.
"""
from image_classification.weights.key_styles import Style

DEPTHS = (1, 2, 3, 4, 3, 3, 1)                                     # blocks of each stage
FIRST = {'0.0': 'conv_dw', '0.1': 'bn1', '1': 'conv_pw', '2': 'bn2'}
OTHERS = {'0.0': 'conv_pw', '0.1': 'bn1', '1.0': 'conv_dw', '1.1': 'bn2', '2': 'conv_pwl', '3': 'bn3'}


def _timm():
    rules = [(r'^features\.0\.0\.', 'conv_stem.'), (r'^features\.0\.1\.', 'bn1.'),
             (r'^features\.18\.0\.', 'conv_head.'), (r'^features\.18\.1\.', 'bn2.'), (r'^classifier\.1\.', 'classifier.')]
    places = [(stage, i) for stage, depth in enumerate(DEPTHS) for i in range(depth)]
    for number, (stage, i) in enumerate(places, 1):
        rules += [(rf'^features\.{number}\.conv\.{ours}\.(?=[a-z])', f'blocks.{stage}.{i}.{theirs}.')
                  for ours, theirs in (FIRST if number == 1 else OTHERS).items()]
    return Style(rules=tuple(rules))


TIMM = _timm()


def styles(model):
    return {'timm': TIMM}
