"""Why a network says what it says: `grad_cam`, a heat map for any class of any classifier; `attention_maps`, what each token,
pixel or channel takes from which others; and pictures of both."""
from image_classification.explain.attention import AttentionMap, attention_maps
from image_classification.explain.cam import ClassEvidence, explain_class, grad_cam
from image_classification.drawing.heat import overlay

__all__ = ['AttentionMap', 'ClassEvidence', 'attention_maps', 'explain_class', 'grad_cam', 'overlay']
