"""Inception-ResNet-v2, which the original tutorial code calls Inception-v2."""
from image_classification.inception_resnet_v2.model import InceptionResNetV2, build_model

__all__ = ['InceptionResNetV2', 'build_model']
