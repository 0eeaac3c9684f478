"""Key styles of published weights, see `image_classification/weights/key_styles.py`. timm uses the authors' names."""
from image_classification.weights.key_styles import Style


def styles(model):
    return {'timm': Style()}
