"""EfficientFormerV2."""
from image_classification.efficientformer_v2.model import EfficientFormerV2, build_model

__all__ = ['EfficientFormerV2', 'build_model']
