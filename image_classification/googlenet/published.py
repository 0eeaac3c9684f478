"""Key styles of published weights, see `image_classification/weights/key_styles.py`. There is only torchvision's; its files may
lack the auxiliary heads."""
from image_classification.weights.key_styles import Style


def styles(model):
    return {'torchvision': Style(optional=('aux1.', 'aux2.'))}
