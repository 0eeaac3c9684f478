"""Mobile image-classification networks for PaddlePaddle.

    import image_classification as ic
    model = ic.create_model('mobileformer_26m', num_classes=10)
"""
from image_classification.cpu import settings

settings.apply()                                           # before anything imports paddle

from image_classification.config import get_config
from image_classification.errors import UserError
from image_classification.fuse import fuse
from image_classification.models import create_model, list_models
from image_classification.weights.pretrained import list_pretrained
from image_classification.weights import load_weights

__version__ = '0.1.0'
__all__ = ['UserError', 'create_model', 'fuse', 'get_config', 'list_models', 'list_pretrained',
           'load_weights']
