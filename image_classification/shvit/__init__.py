"""SHViT."""
from image_classification.shvit.model import SHViT, build_model

__all__ = ['SHViT', 'build_model']
