"""LeViT."""
from image_classification.levit.model import LeViT, build_model

__all__ = ['LeViT', 'build_model']
