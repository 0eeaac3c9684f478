"""Key styles of published weights, see `image_classification/weights/key_styles.py`.

torchvision numbers all blocks consecutively, timm within each stage. timm names a block's layers; the first block has other
names because it does not expand. paddle.vision uses the names and shapes of this library. PaddleClas has another network, in
which all blocks expand.
"""
from image_classification.weights.key_styles import Style

DEPTHS = (1, 2, 3, 4, 3, 3, 1)                                     # blocks of each stage
FIRST = {'0.0': 'conv_dw', '0.1': 'bn1', '1': 'conv_pw', '2': 'bn2'}
PAPER, PADDLECLAS = (('DESIGN', 'paper'),), (('DESIGN', 'paddleclas'),)
OTHERS = {'0.0': 'conv_pw', '0.1': 'bn1', '1.0': 'conv_dw', '1.1': 'bn2', '2': 'conv_pwl', '3': 'bn3'}


def _timm():
    rules = [(r'^features\.0\.0\.', 'conv_stem.'), (r'^features\.0\.1\.', 'bn1.'),
             (r'^features\.18\.0\.', 'conv_head.'), (r'^features\.18\.1\.', 'bn2.'), (r'^classifier\.1\.', 'classifier.')]
    places = [(stage, i) for stage, depth in enumerate(DEPTHS) for i in range(depth)]
    for number, (stage, i) in enumerate(places, 1):
        rules += [(rf'^features\.{number}\.conv\.{ours}\.(?=[a-z])', f'blocks.{stage}.{i}.{theirs}.')
                  for ours, theirs in (FIRST if number == 1 else OTHERS).items()]
    return Style(rules=tuple(rules), network=PAPER)


def _paddleclas(model):
    rules = [(r'^features\.0\.0\.', 'conv1._conv.'), (r'^features\.0\.1\.', 'conv1._batch_norm.'),
             (r'^features\.18\.0\.', 'conv9._conv.'), (r'^features\.18\.1\.', 'conv9._batch_norm.'),
             (r'^classifier\.1\.', 'out.')]
    places = [(stage, i) for stage, depth in enumerate(DEPTHS, 2) for i in range(depth)]
    for number, (stage, i) in enumerate(places, 1):
        block = f'conv{stage}.conv{stage}_{i + 1}' if i else f'conv{stage}._first_block'
        layers = len(model.features[number].conv)                  # three, or four with an expansion
        for j, layer in enumerate(('expand', 'bottleneck')[-(layers - 2):]):
            ours, theirs = rf'^features\.{number}\.conv\.{j}\.', f'{block}._{layer}_conv.'
            rules += [(rf'{ours}0\.', f'{theirs}_conv.'), (rf'{ours}1\.', f'{theirs}_batch_norm.')]
        rules += [(rf'^features\.{number}\.conv\.{layers - 2}\.', f'{block}._linear_conv._conv.'),
                  (rf'^features\.{number}\.conv\.{layers - 1}\.', f'{block}._linear_conv._batch_norm.')]
    return Style(rules=tuple(rules), network=PADDLECLAS, paddle=True)


TIMM = _timm()


def styles(model):
    return {'torchvision': Style(network=PAPER), 'timm': TIMM, 'paddleclas': _paddleclas(model),
            'paddle_vision': Style(paddle=True)}
