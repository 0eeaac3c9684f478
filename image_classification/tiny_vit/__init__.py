"""TinyViT."""
from image_classification.tiny_vit.model import TinyViT, build_model

__all__ = ['TinyViT', 'build_model']
