"""Key styles of published weights, see `image_classification/weights/key_styles.py`. The authors' is the only one."""
from image_classification.weights.key_styles import Style


def styles(model):
    return {'official': Style()}
