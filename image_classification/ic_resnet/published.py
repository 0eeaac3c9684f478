"""Key styles of published weights, see `image_classification/key_styles.py`. The authors' is the only one."""
from image_classification.key_styles import Style


def styles(model):
    return {'official': Style()}
