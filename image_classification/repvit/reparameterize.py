"""Re-parameterises RepViT for evaluation, see `image_classification/fuse.py`."""
from image_classification.layers import affine, convolution_of, fold_in_front, identity_kernel, kernel_and_bias
from image_classification.repvit.model import Classifier, RepVggDw


class OneConvolution(RepVggDw):
    """The branches and the batch norm behind them as one convolution."""

    def forward(self, x):
        return self.conv(x)


def merge_branches(layer):
    dim = layer.conv1.weight.shape[0]
    (weight, bias), (pixel, offset) = (kernel_and_bias(branch, dim, 3, dim) for branch in (layer.conv, layer.conv1))
    factor, shift = affine(layer.bn)
    weight = weight + pixel + identity_kernel(dim, 3, dim).astype(weight.dtype)
    layer.conv = convolution_of(weight * factor.reshape([-1, 1, 1, 1]), (bias + offset) * factor + shift, 1, dim)
    layer.conv1 = layer.bn = None
    layer.__class__ = OneConvolution


class OneClassifier(Classifier):
    """The mean of the classifiers as one linear layer, with their batch norms folded in."""

    def forward(self, x):
        return self.head(x)


def merge_classifiers(layer):
    heads = [head for head in (layer.head, layer.head_dist) if head is not None]
    for head in heads:
        fold_in_front(head.bn, head.l)
    one = heads[0].l
    for name in ('weight', 'bias'):
        getattr(one, name).set_value(sum(getattr(head.l, name) for head in heads) / len(heads))
    layer.head, layer.head_dist = one, None
    layer.__class__ = OneClassifier


FORMS = {RepVggDw: merge_branches, Classifier: merge_classifiers}
