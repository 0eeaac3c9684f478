"""Inception-v2."""
from image_classification.inception_v2.model import InceptionV2, build_model

__all__ = ['InceptionV2', 'build_model']
