"""Key styles of published weights, see `image_classification/weights/key_styles.py`.

The authors number stages and the layers between them consecutively. timm makes each downsampling part of the stage behind it.
"""
from image_classification.weights.key_styles import Style

_RULES = ((r'^patch_embed\.', 'stem.'), *((rf'^network\.{2 * i}\.', f'stages.{i}.blocks.') for i in range(4)),
          *((rf'^network\.{2 * i + 1}\.', f'stages.{i + 1}.downsample.') for i in range(3)),
          (r'\.attn\.Proj\.', '.attn.proj.'), (r'\.(layer_scale(_[12])?)$', r'.\1.gamma'), (r'^dist_head\.', 'head_dist.'))


def styles(model):
    optional = () if model.distilled else ('dist_head.',)          # a distilled network needs both heads
    return {'official': Style(optional=optional), 'timm': Style(rules=_RULES, optional=optional)}
