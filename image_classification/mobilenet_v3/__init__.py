"""MobileNetV3."""
from image_classification.mobilenet_v3.model import MobileNetV3, build_model

__all__ = ['MobileNetV3', 'build_model']
