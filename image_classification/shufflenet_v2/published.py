"""Key styles of published weights, see `image_classification/weights/key_styles.py`.

torchvision's is the only one: Megvii's own weights, named otherwise, expect the channels to be shuffled in another order.
"""
from image_classification.weights.key_styles import Style


def styles(model):
    return {'torchvision': Style()}
