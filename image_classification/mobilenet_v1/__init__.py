"""MobileNetV1."""
from image_classification.mobilenet_v1.model import MobileNetV1, build_model

__all__ = ['MobileNetV1', 'build_model']
