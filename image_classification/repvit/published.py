"""Key styles of published weights, see `image_classification/weights/key_styles.py`.

The authors number all blocks consecutively, after the stem. The block in front of a downsampling counts like any other. A
downsampling has its two convolutions in place of a token mixer.
"""
from image_classification.weights.key_styles import Style

STEM_AND_HEAD = ((r'^stem\.conv1\.', 'features.0.0.'), (r'^stem\.conv2\.', 'features.0.2.'),
                 (r'^head\.head\.', 'classifier.classifier.'), (r'^head\.head_dist\.', 'classifier.classifier_dist.'))
IN_A_BLOCK = ((r'\.token_mixer\.(conv|conv1|bn)\.', r'.token_mixer.0.\1.'), (r'\.se\.', '.token_mixer.1.'),
              (r'\.spatial_downsample\.', '.token_mixer.0.'), (r'\.channel_downsample\.', '.token_mixer.2.'),
              (r'\.(channel_mixer|ffn)\.conv1\.', '.channel_mixer.m.0.'),
              (r'\.(channel_mixer|ffn)\.conv2\.', '.channel_mixer.m.2.'))


def styles(model):
    rules, number = [*STEM_AND_HEAD], 1
    for i, stage in enumerate(model.stages):
        if i > 0:
            rules += [(rf'^stages\.{i}\.downsample\.pre_block\.', f'features.{number}.'),
                      (rf'^stages\.{i}\.downsample\.', f'features.{number + 1}.')]
            number += 2
        for j in range(len(stage.blocks)):
            rules.append((rf'^stages\.{i}\.blocks\.{j}\.', f'features.{number}.'))
            number += 1
    return {'official': Style(rules=(*rules, *IN_A_BLOCK))}
