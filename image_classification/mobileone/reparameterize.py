"""What MobileOne becomes for evaluation, see `image_classification/fuse.py`: each layer's branches are one convolution."""
from image_classification.mobileone.model import Layer

FORMS = {Layer: Layer.merge}
