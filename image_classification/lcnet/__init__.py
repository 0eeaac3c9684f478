"""PP-LCNet."""
from image_classification.lcnet.model import LCNet, build_model

__all__ = ['LCNet', 'build_model']
