"""Key styles of published weights, see `image_classification/weights/key_styles.py`.

timm and torchvision give the same names. Of timm's weights only those ported from torchvision have the auxiliary head.
"""
from image_classification.weights.key_styles import Style


def styles(model):
    style = Style(optional=('AuxLogits.',))
    return {'torchvision': style, 'timm': style}
