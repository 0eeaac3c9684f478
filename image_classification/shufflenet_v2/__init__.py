"""ShuffleNet V2."""
from image_classification.shufflenet_v2.model import ShuffleNetV2, build_model

__all__ = ['ShuffleNetV2', 'build_model']
