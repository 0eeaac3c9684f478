"""Key styles of published weights, see `image_classification/weights/key_styles.py`. The authors count the stem as a stage."""
from image_classification.weights.key_styles import Style

OFFICIAL = Style(rules=(
    *((rf'^stages\.{i}\.', f'stage{i + 1}.') for i in range(4)), (r'^stem\.', 'stage0.'), (r'^head\.fc\.', 'linear.'),
    (r'\.conv_kxk\.', '.rbr_conv.'), (r'\.conv_scale\.', '.rbr_scale.'), (r'\.identity\.', '.rbr_skip.'),
    (r'\.attn\.fc1\.', '.se.reduce.'), (r'\.attn\.fc2\.', '.se.expand.')))


def styles(model):
    return {'official': OFFICIAL}
