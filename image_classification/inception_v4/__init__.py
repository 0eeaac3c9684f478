"""Inception-v4."""
from image_classification.inception_v4.model import InceptionV4, build_model

__all__ = ['InceptionV4', 'build_model']
