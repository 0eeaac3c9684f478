"""Key styles of published weights, see `image_classification/weights/key_styles.py`. torchvision's is the only one; of it
a file may lack the auxiliary heads."""
from image_classification.weights.key_styles import Style


def styles(model):
    return {'torchvision': Style(optional=('aux1.', 'aux2.'))}
