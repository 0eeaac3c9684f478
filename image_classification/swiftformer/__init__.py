"""SwiftFormer."""
from image_classification.swiftformer.model import SwiftFormer, build_model

__all__ = ['SwiftFormer', 'build_model']
