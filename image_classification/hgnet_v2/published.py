"""Key styles of published weights, see `image_classification/weights/key_styles.py`.

PaddleClas, whose network it is, has the two 1x1 convolutions that aggregate, and the parts of the head, on their own. Its
stem's pool is another one at the border.
"""
from image_classification.weights.key_styles import Style

RULES = ((r'\.aggregation\.0\.', '.aggregation_squeeze_conv.'), (r'\.aggregation\.1\.', '.aggregation_excitation_conv.'),
         (r'^head\.last_conv\.0\.', 'last_conv.'), (r'^head\.last_conv\.2\.', 'lab.'), (r'^head\.fc\.', 'fc.'))
PUBLISHED = {'timm': Style(network=(('DESIGN', 'timm'),)),
             'paddleclas': Style(rules=RULES, network=(('DESIGN', 'paddleclas'),), paddle=True)}


def styles(model):
    return PUBLISHED
