"""Key styles of published weights, see `image_classification/key_styles.py`. torchvision's is the only one."""
from image_classification.key_styles import Style


def styles(model):
    return {'torchvision': Style(optional=('aux1.', 'aux2.'))}
