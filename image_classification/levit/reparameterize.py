"""Faster equivalents of LeViT's layers for inference engines, see `image_classification/fuse.py`."""
from image_classification.layers.distilled import one_classifier
from image_classification.layers.position_bias import Gathered, gather
from image_classification.levit.model import Attention, AttentionSubsample, LeViT


class GatheredAttention(Gathered, Attention):
    pass


class GatheredSubsample(Gathered, AttentionSubsample):
    pass


def average_heads(network):
    """Fold the batch norms into the classifiers, and replace both by one that gives their mean."""
    if network.distilled and hasattr(network, 'head_dist'):        # missing with features_only
        heads = network.head, network.head_dist
        for head in heads:
            fold_norm(head)
        network.head = one_classifier(network, *(head.l for head in heads))
        del network.head_dist


def fold_norm(head):
    """Fold a batch norm into the linear layer behind it."""
    norm, linear = head.bn, head.l
    factor = norm.weight * (norm._variance + norm._epsilon).rsqrt()
    linear.bias.set_value(linear.bias + (norm.bias - norm._mean * factor) @ linear.weight)
    linear.weight.set_value(linear.weight * factor.unsqueeze(1))   # (C, classes)


FORMS = {Attention: lambda layer: gather(layer, GatheredAttention),
         AttentionSubsample: lambda layer: gather(layer, GatheredSubsample), LeViT: average_heads}
