"""EfficientNet-Lite."""
from image_classification.efficientnet_lite.model import EfficientNetLite, build_model

__all__ = ['EfficientNetLite', 'build_model']
