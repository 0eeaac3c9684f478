"""MobileViT and MobileViTv2."""
from image_classification.mobilevit.model import MobileViT, build_model

__all__ = ['MobileViT', 'build_model']
