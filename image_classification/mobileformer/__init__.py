"""Mobile-Former. The original tutorial's call works unchanged: `build_mformer(get_config('mobileformer_26m.yaml'))`."""
from image_classification.config import get_config
from image_classification.mobileformer.model import MobileFormer, build_model

build_mformer = build_mobileformer = build_model  # the tutorial's name, PaddleViT's name

__all__ = ['MobileFormer', 'build_mformer', 'build_mobileformer', 'build_model', 'get_config']
