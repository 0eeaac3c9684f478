"""MobileNetV2."""
from image_classification.mobilenet_v2.model import MobileNetV2, build_model

__all__ = ['MobileNetV2', 'build_model']
