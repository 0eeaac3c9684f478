"""Key styles of published weights, see `image_classification/weights/key_styles.py`.

PaddleClas, the original, keeps the two aggregating 1x1 convolutions and the parts of the head as separate layers. Its stem's
pool treats the border differently.
"""
from image_classification.weights.key_styles import Style

RULES = ((r'\.aggregation\.0\.', '.aggregation_squeeze_conv.'), (r'\.aggregation\.1\.', '.aggregation_excitation_conv.'),
         (r'^head\.last_conv\.0\.', 'last_conv.'), (r'^head\.last_conv\.2\.', 'lab.'), (r'^head\.fc\.', 'fc.'))
PUBLISHED = {'timm': Style(network=(('DESIGN', 'timm'),)),
             'paddleclas': Style(rules=RULES, network=(('DESIGN', 'paddleclas'),), paddle=True)}


def styles(model):
    return PUBLISHED
