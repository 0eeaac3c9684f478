"""Key styles of published weights, see `image_classification/weights/key_styles.py`.

torchvision numbers all blocks through, timm within each stage, and timm names a block's layers. timm's first hidden layer of
the classifier is a 1x1 convolution, and its batch norms have an epsilon of 1e-5. Of its weights those called `tf_` are for
another network: they want TensorFlow's padding, which is one-sided where a stride is 2.
"""
from image_classification.weights.key_styles import Style

DEPTHS = {15: (1, 2, 3, 4, 2, 3), 11: (1, 2, 3, 2, 3)}             # blocks of each stage of large and of small
FIRST = {r'0\.0': 'conv_dw', r'0\.1': 'bn1', r'1\.fc1': 'se.conv_reduce', r'1\.fc2': 'se.conv_expand',
         r'[12]\.0': 'conv_pw', r'[12]\.1': 'bn2'}                 # it does not expand, and large's has no gates
OTHERS = {r'0\.0': 'conv_pw', r'0\.1': 'bn1', r'1\.0': 'conv_dw', r'1\.1': 'bn2', r'2\.fc1': 'se.conv_reduce',
          r'2\.fc2': 'se.conv_expand', r'[23]\.0': 'conv_pwl', r'[23]\.1': 'bn3'}


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
    return Style(rules=tuple(rules), convolutions=('conv_head.weight',), epsilon=1e-5)


TIMM = {blocks: _timm(blocks) for blocks in DEPTHS}


def styles(model):
    return {'timm': TIMM[len(model.features) - 2]}
