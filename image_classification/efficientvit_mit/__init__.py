"""EfficientViT of MIT."""
from image_classification.efficientvit_mit.model import EfficientViT, build_model

__all__ = ['EfficientViT', 'build_model']
