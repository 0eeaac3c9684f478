"""RepViT."""
from image_classification.repvit.model import RepViT, build_model

__all__ = ['RepViT', 'build_model']
