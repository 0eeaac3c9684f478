"""EfficientViT-M0 to M5: classifiers, and the detector backbones of the authors (_det) and of the original tutorial (_yolo)."""
from image_classification.efficientvit.model import (EfficientViT, EfficientViTBackbone, build_model,
                                                     from_classifier)

__all__ = ['EfficientViT', 'EfficientViTBackbone', 'build_model', 'from_classifier']
