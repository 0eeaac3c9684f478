"""MobileOne."""
from image_classification.mobileone.model import MobileOne, build_model

__all__ = ['MobileOne', 'build_model']
