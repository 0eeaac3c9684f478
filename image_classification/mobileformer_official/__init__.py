"""Mobile-Former as its authors published it, with the weights that reach 64.0 to 79.3 % on ImageNet."""
from image_classification.mobileformer_official.model import MobileFormerOfficial, build_model

__all__ = ['MobileFormerOfficial', 'build_model']
