"""MobileNetV4."""
from image_classification.mobilenet_v4.model import MobileNetV4, build_model

__all__ = ['MobileNetV4', 'build_model']
