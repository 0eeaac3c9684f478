"""Key styles of published weights, see `image_classification/weights/key_styles.py`.

PaddleClas, whose network it is, has the two 1x1 convolutions that aggregate, and the parts of the head, on their own.
"""
from image_classification.weights.key_styles import Style

RULES = ((r'\.aggregation\.0\.', '.aggregation_squeeze_conv.'), (r'\.aggregation\.1\.', '.aggregation_excitation_conv.'),
         (r'^head\.last_conv\.0\.', 'last_conv.'), (r'^head\.last_conv\.2\.', 'lab.'), (r'^head\.fc\.', 'fc.'))
PUBLISHED = {'paddleclas': Style(rules=RULES, paddle=True)}


def styles(model):
    return PUBLISHED
