"""Key styles of published weights, see `image_classification/weights/key_styles.py`.

In the authors' names a downsampling ends a stage; in timm's it begins the next one.
"""
from image_classification.weights.key_styles import Style

TIMM = Style(rules=(
    (r'^patch_embed\.seq\.0\.', 'patch_embed.conv1.'), (r'^patch_embed\.seq\.2\.', 'patch_embed.conv2.'),
    *((rf'^layers\.{i}\.downsample\.', f'stages.{i + 1}.downsample.') for i in range(3)),
    (r'^layers\.', 'stages.'), (r'\.c\.', '.conv.'), (r'^norm_head\.', 'head.norm.'), (r'^head\.(weight|bias)$', r'head.fc.\1')))


def styles(model):
    return {'timm': TIMM}
