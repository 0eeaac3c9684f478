"""Key styles of published weights, see `image_classification/weights/key_styles.py`.

timm makes each downsampling part of the stage behind it, and the last norm part of the head. It has no BN-HS variants.
"""
from image_classification.weights.key_styles import Style

TIMM = Style(rules=(
    (r'^stages\.(\d)\.(\d+)\.', r'stages.\1.blocks.\2.'),
    (r'^downsample_layers\.0\.', 'stem.'),
    (r'^downsample_layers\.(\d)\.', r'stages.\1.downsample.'),
    (r'\.dwconv\.', '.conv_dw.'),
    (r'\.pwconv([12])\.', r'.mlp.fc\1.'),
    (r'^norm\.', 'head.norm.'),
    (r'^head\.(weight|bias)$', r'head.fc.\1'),
))


def styles(model):
    return {'timm': TIMM}
