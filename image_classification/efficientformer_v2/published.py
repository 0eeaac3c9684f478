"""Key styles of published weights, see `image_classification/weights/key_styles.py`.

The authors number stages and the layers between them consecutively. timm makes each downsampling part of the stage behind it,
names convolutions and their norms, and stores layer scales as plain vectors.
"""
from image_classification.weights.key_styles import Style

_RULES = (
    (r'^patch_embed\.0\.', 'stem.conv1.conv.'), (r'^patch_embed\.1\.', 'stem.conv1.bn.'),
    (r'^patch_embed\.3\.', 'stem.conv2.conv.'), (r'^patch_embed\.4\.', 'stem.conv2.bn.'),
    *((rf'^network\.{2 * i}\.', f'stages.{i}.blocks.') for i in range(4)),
    *((rf'^network\.{2 * i + 1}\.', f'stages.{i + 1}.downsample.') for i in range(3)),
    (r'\.mlp\.norm([12])\.', r'.mlp.fc\1.bn.'), (r'\.mlp\.fc([12])\.(weight|bias)$', r'.mlp.fc\1.conv.\2'),
    (r'\.mlp\.mid\.', '.mlp.mid.conv.'), (r'\.mlp\.mid_norm\.', '.mlp.mid.bn.'),
    (r'\.downsample\.(conv|bn)\.', r'.downsample.conv.\1.'),
    (r'^(stages\.[12]\.downsample)\.proj\.', r'\1.conv.conv.'), (r'^(stages\.[12]\.downsample)\.norm\.', r'\1.conv.bn.'),
    (r'\.(token_mixer|attn)\.proj\.1\.', r'.\1.proj.conv.'), (r'\.(token_mixer|attn)\.proj\.2\.', r'.\1.proj.bn.'),
    (r'\.attn\.q\.local\.0\.', '.attn.q.local.'),
    (r'\.(q|k|v|v_local|stride_conv|q\.proj)\.0\.', r'.\1.conv.'), (r'\.(q|k|v|v_local|stride_conv|q\.proj)\.1\.', r'.\1.bn.'),
    (r'\.layer_scale_([12])$', r'.ls\1.gamma'), (r'^dist_head\.', 'head_dist.'))


def styles(model):
    optional = () if model.distilled else ('dist_head.',)          # a distilled network needs both heads
    return {'official': Style(optional=optional), 'timm': Style(rules=_RULES, vectors=('.gamma',), optional=optional)}
