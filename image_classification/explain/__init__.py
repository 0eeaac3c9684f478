"""Explanations of a network's predictions: `grad_cam` gives a heat map for any class of any classifier, `attention_maps` which
tokens, pixels or channels each of them attends to. `overlay` draws a heat map over a picture."""
from image_classification.explain.attention import AttentionMap, attention_maps
from image_classification.explain.cam import ClassEvidence, explain_class, grad_cam
from image_classification.drawing.heat import overlay

__all__ = ['AttentionMap', 'ClassEvidence', 'attention_maps', 'explain_class', 'grad_cam', 'overlay']
