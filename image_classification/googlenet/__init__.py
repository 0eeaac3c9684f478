"""GoogLeNet (Inception v1)."""
from image_classification.googlenet.model import GoogLeNet, build_model

__all__ = ['GoogLeNet', 'build_model']
