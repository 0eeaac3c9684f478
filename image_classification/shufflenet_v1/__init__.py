"""ShuffleNet V1."""
from image_classification.shufflenet_v1.model import ShuffleNetV1, build_model

__all__ = ['ShuffleNetV1', 'build_model']
