"""PP-HGNetV2."""
from image_classification.hgnet_v2.model import HGNetV2, build_model

__all__ = ['HGNetV2', 'build_model']
