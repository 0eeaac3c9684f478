"""Key styles of published weights, see `image_classification/weights/key_styles.py`.

This library uses timm's names. PaddleClas numbers all blocks consecutively and names a block's layers. paddle.vision numbers
the blocks within conv2 to conv6. Both use ReLU, timm uses ReLU6.
"""
from image_classification.weights.key_styles import Style

STAGES = ('conv2_1', 'conv2_2', 'conv3_1', 'conv3_2', 'conv4_1', 'conv4_2', 'conv5_1', 'conv5_2', 'conv5_3', 'conv5_4',
          'conv5_5', 'conv5_6', 'conv6')                           # the blocks, as paddle.vision calls them
RELU, RELU6 = (('ACTIVATION', 'relu'),), (('ACTIVATION', 'relu6'),)


def styles(model):
    places = [(stage, i) for stage, blocks in enumerate(model.blocks) for i in range(len(blocks))]
    clas = [(r'^conv_stem\.', 'conv.conv.'), (r'^bn1\.', 'conv.bn.'), (r'^classifier\.', 'fc.')]
    vision = [(r'^conv_stem\.', 'conv1.0.'), (r'^bn1\.', 'conv1.1.'), (r'^classifier\.', 'fc.')]
    for number, (stage, i) in enumerate(places):
        for ours, layer, part in (('conv_dw', 'depthwise', 0), ('bn1', 'depthwise', 1), ('conv_pw', 'pointwise', 0),
                                  ('bn2', 'pointwise', 1)):
            pattern = rf'^blocks\.{stage}\.{i}\.{ours}\.'
            clas.append((pattern, f'blocks.{number}.{layer}_conv.{("conv", "bn")[part]}.'))
            vision.append((pattern, f'{STAGES[number]}._{layer}_conv.{part}.'))
    return {'timm': Style(network=RELU6),
            'paddleclas': Style(rules=tuple(clas), network=RELU, paddle=True),
            'paddle_vision': Style(rules=tuple(vision), network=RELU, paddle=True)}
