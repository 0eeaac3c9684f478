"""StarNet."""
from image_classification.starnet.model import StarNet, build_model

__all__ = ['StarNet', 'build_model']
