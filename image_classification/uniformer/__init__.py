"""UniFormer: convolution in the shallow stages, self-attention in the deep ones. UniFormer-Light also prunes tokens."""
from image_classification.uniformer.light import UniFormerLight
from image_classification.uniformer.model import UniFormer, build_model

__all__ = ['UniFormer', 'UniFormerLight', 'build_model']
