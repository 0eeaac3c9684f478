"""Xception, as Chollet published it."""
from image_classification.xception.model import Xception, build_model

__all__ = ['Xception', 'build_model']
