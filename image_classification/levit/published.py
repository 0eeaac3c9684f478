"""Key styles of published weights, see `image_classification/weights/key_styles.py`.

The authors number all blocks consecutively; an attention and an MLP are two blocks. timm has both in one block, numbers the
blocks within each stage, and names the layers.
"""
from image_classification.levit.model import AttentionSubsample
from image_classification.weights.key_styles import Style


def _timm(model):
    rules = [(rf'^patch_embed\.{2 * i}\.', f'stem.conv{i + 1}.') for i in range(4)]
    stage, block, number = 0, '', -1
    for i, layer in enumerate(model.blocks):
        attention = i % 2 == 0
        if isinstance(layer, AttentionSubsample):
            stage, number, block = stage + 1, -1, f'stages.{stage + 1}.downsample'
            rules.append((rf'^blocks\.{i}\.', f'{block}.attn_downsample.'))
            continue
        if attention:
            number, block = number + 1, f'stages.{stage}.blocks.{number + 1}'
        rules += [(rf'^blocks\.{i}\.m\.', f'{block}.attn.')] if attention else [
            (rf'^blocks\.{i}\.m\.0\.', f'{block}.mlp.ln1.'), (rf'^blocks\.{i}\.m\.2\.', f'{block}.mlp.ln2.')]
    return (*rules, (r'\.(q|proj)\.1\.', r'.\1.ln.'), (r'\.c\.', '.linear.'), (r'^(head|head_dist)\.l\.', r'\1.linear.'))


def styles(model):
    optional = () if model.distilled else ('head_dist.',)          # a distilled network needs both heads
    return {'official': Style(optional=optional), 'timm': Style(rules=_timm(model), optional=optional)}
