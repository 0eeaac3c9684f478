"""Inception v3."""
from image_classification.inception_v3.model import InceptionV3, build_model

__all__ = ['InceptionV3', 'build_model']
