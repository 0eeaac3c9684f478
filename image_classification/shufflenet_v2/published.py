"""Key styles of published weights, see `image_classification/weights/key_styles.py`.

This library uses torchvision's names. PaddleClas and paddle.vision name a unit's layers by function, and units '2_1' to '4_4'.
"""
from image_classification.weights.key_styles import Style

# Sub-layers of a branch: (index of the convolution, of the batch norm, their published name).
FIRST = {'branch1': ((0, 1, '_conv_dw_1'), (2, 3, '_conv_linear_1')),
         'branch2': ((0, 1, '_conv_pw_2'), (3, 4, '_conv_dw_2'), (5, 6, '_conv_linear_2'))}
OTHERS = {'branch2': ((0, 1, '_conv_pw'), (3, 4, '_conv_dw'), (5, 6, '_conv_linear'))}


def _style(model, conv, norm):
    rules = [(r'^conv1\.0\.', f'_conv1.{conv}.'), (r'^conv1\.1\.', f'_conv1.{norm}.'), (r'^fc\.', '_fc.'),
             (r'^conv5\.0\.', f'_last_conv.{conv}.'), (r'^conv5\.1\.', f'_last_conv.{norm}.')]
    for stage, units in ((2, model.stage2), (3, model.stage3), (4, model.stage4)):
        for i in range(len(units)):
            for branch, layers in (OTHERS if i else FIRST).items():
                for first, second, name in layers:
                    ours, theirs = rf'^stage{stage}\.{i}\.{branch}\.', f'{stage}_{i + 1}.{name}.'
                    rules += [(rf'{ours}{first}\.', f'{theirs}{conv}.'), (rf'{ours}{second}\.', f'{theirs}{norm}.')]
    return Style(rules=tuple(rules), paddle=True)


def styles(model):
    return {'paddleclas': _style(model, '_conv', '_batch_norm'), 'paddle_vision': _style(model, '0', '1')}
