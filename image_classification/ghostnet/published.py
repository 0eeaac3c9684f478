"""Key styles of published weights, see `image_classification/weights/key_styles.py`.

The authors use timm's names, except for the batch norms of version 3's branches. PaddleClas numbers all blocks consecutively
and has another network, which the key DESIGN selects.
"""
from image_classification.weights.key_styles import Style

PAPER, PADDLECLAS = (('DESIGN', 'paper'),), (('DESIGN', 'paddleclas'),)
OFFICIAL = Style(rules=((r'\.(\w+_rpr_(?:conv\.\d+|scale))\.bn1\.', r'.\1.bn.'),), network=PAPER)
IN_A_BLOCK = (
    (r'\.(primary_conv|cheap_operation)\.0\.', r'.\1._conv.'), (r'\.(primary_conv|cheap_operation)\.1\.', r'.\1._batch_norm.'),
    (r'\.ghost([12])\.', r'.ghost_module_\1.'), (r'\.conv_dw\.', '.depthwise_conv._conv.'),
    (r'\.bn_dw\.', '.depthwise_conv._batch_norm.'), (r'\.se\.conv_reduce\.', '.se_block.squeeze.'),
    (r'\.se\.conv_expand\.', '.se_block.excitation.'), (r'\.shortcut\.0\.', '.shortcut_depthwise._conv.'),
    (r'\.shortcut\.1\.', '.shortcut_depthwise._batch_norm.'), (r'\.shortcut\.2\.', '.shortcut_conv._conv.'),
    (r'\.shortcut\.3\.', '.shortcut_conv._batch_norm.'))
AROUND = ((r'^conv_stem\.', 'conv1._conv.'), (r'^bn1\.', 'conv1._batch_norm.'), (r'^conv_head\.', 'fc_0._conv.'),
          (r'^bn2\.', 'fc_0._batch_norm.'), (r'^classifier\.', 'fc_1.'))


def _paddleclas(model):
    *stages, last = model.blocks
    places = [(i, j) for i, stage in enumerate(stages) for j in range(len(stage))]
    rules = [(rf'^blocks\.{i}\.{j}\.', f'_ghostbottleneck_{number}.') for number, (i, j) in enumerate(places)]
    rules += [(rf'^blocks\.{len(stages)}\.0\.conv\.', 'conv_last._conv.'),
              (rf'^blocks\.{len(stages)}\.0\.bn1\.', 'conv_last._batch_norm.')]
    return Style(rules=(*AROUND, *rules, *IN_A_BLOCK), network=PADDLECLAS, paddle=True)


def styles(model):
    return {'timm': Style(network=PAPER), 'official': OFFICIAL, 'paddleclas': _paddleclas(model)}
