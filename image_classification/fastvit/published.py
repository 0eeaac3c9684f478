"""Key styles of published weights, see `image_classification/weights/key_styles.py`.

The authors number stages, downsamplings and the position encoding consecutively. Their layer scales are parameters of blocks.
"""
from image_classification.weights.key_styles import Style

NAMES = ((r'^stem\.', 'patch_embed.'), (r'^final_conv\.', 'conv_exp.'), (r'^head\.fc\.', 'head.'),
         (r'\.conv_kxk\.', '.rbr_conv.'), (r'\.conv_scale\.', '.rbr_scale.'), (r'\.identity\.', '.rbr_skip.'),
         (r'\.large_conv\.', '.lkb_origin.'), (r'\.mlp\.', '.convffn.'), (r'\.se\.fc1\.', '.se.reduce.'),
         (r'\.se\.fc2\.', '.se.expand.'), (r'\.(layer_scale(_[12])?)\.gamma$', r'.\1'))


def styles(model):
    rules, number = [], 0
    for i, stage in enumerate(model.stages):
        if i > 0:
            rules.append((rf'^stages\.{i}\.downsample\.', f'network.{number}.'))
            number += 1
        if hasattr(stage.pos_emb, 'pos_enc'):
            rules.append((rf'^stages\.{i}\.pos_emb\.pos_enc\.', f'network.{number}.pe.'))
            number += 1
        rules.append((rf'^stages\.{i}\.blocks\.', f'network.{number}.'))
        number += 1
    return {'official': Style(rules=(*rules, *NAMES))}
