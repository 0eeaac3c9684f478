"""FastViT."""
from image_classification.fastvit.model import FastViT, build_model

__all__ = ['FastViT', 'build_model']
