"""EdgeNeXt, with layer norm and GELU or with batch norm and hard-swish."""
from image_classification.edgenext.model import EdgeNeXt, build_model

__all__ = ['EdgeNeXt', 'build_model']
