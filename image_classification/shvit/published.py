"""Key styles of published weights, see `image_classification/weights/key_styles.py`.

The authors number the layers of a stage consecutively. A downsampling is the first three of them, two of which are pairs. timm
numbers its five layers separately.
"""
from image_classification.weights.key_styles import Style

LONGEST = 7                                                        # most blocks of a stage
DOWNSAMPLING = {'0.0': 0, '0.1': 1, '1': 2, '2.0': 3, '2.1': 4}


def _timm():
    rules = [(r'^blocks1\.', 'stages.0.blocks.')]
    for stage in (1, 2):
        rules += [(rf'^blocks{stage + 1}\.{ours}\.', f'stages.{stage}.downsample.{theirs}.') for ours, theirs in DOWNSAMPLING.items()]
        rules += [(rf'^blocks{stage + 1}\.{i + 3}\.', f'stages.{stage}.blocks.{i}.') for i in range(LONGEST)]
    return Style(rules=tuple(rules))


TIMM = _timm()


def styles(model):
    return {'timm': TIMM}
