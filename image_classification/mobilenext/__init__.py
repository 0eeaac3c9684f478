"""MobileNeXt."""
from image_classification.mobilenext.model import MobileNeXt, build_model

__all__ = ['MobileNeXt', 'build_model']
