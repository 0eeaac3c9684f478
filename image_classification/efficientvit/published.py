"""Key styles of published weights, see `image_classification/weights/key_styles.py`.

The authors number the layers of a stage consecutively; a downsampling is the first three of them. timm keeps it separate.
"""
from image_classification.weights.key_styles import Style

DOWNSAMPLING = ('res1', 'patchmerge', 'res2')
LONGEST = 4                                                        # most blocks of a stage


def _timm():
    rules = [(rf'^patch_embed\.{2 * i}\.', f'patch_embed.conv{i + 1}.') for i in range(4)]
    rules += [(r'^blocks1\.', 'stages.0.blocks.')]
    for stage in (1, 2):
        rules += [(rf'^blocks{stage + 1}\.{i}\.', f'stages.{stage}.downsample.{name}.') for i, name in enumerate(DOWNSAMPLING)]
        rules += [(rf'^blocks{stage + 1}\.{i + 3}\.', f'stages.{stage}.blocks.{i}.') for i in range(LONGEST)]
    return Style(rules=(*rules, (r'\.c\.', '.conv.'), (r'^head\.l\.', 'head.linear.')))


TIMM = _timm()


def styles(model):
    return {'timm': TIMM}
