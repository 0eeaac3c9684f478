"""GhostNet, versions 1 to 3."""
from image_classification.ghostnet.model import GhostNet, build_model

__all__ = ['GhostNet', 'build_model']
