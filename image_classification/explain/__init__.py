"""Why a network says what it says: `grad_cam`, a heat map for any class of any classifier, and pictures of it."""
from image_classification.explain.cam import explain_class, grad_cam
from image_classification.explain.drawing import overlay

__all__ = ['explain_class', 'grad_cam', 'overlay']
