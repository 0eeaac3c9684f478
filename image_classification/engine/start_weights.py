"""Start a training from weights. The classifier is kept only if its classes are those of the data, compared by name."""
from pathlib import Path

import paddle
from paddle import nn

from image_classification.checkpoint import checkpoint_at
from image_classification.datasets.classes import are_known, difference, order
from image_classification.datasets.imagenet_names import names_to_show
from image_classification.engine.freeze import is_below
from image_classification.weights.catalogue import file_in_library, is_address
from image_classification.weights.pretrained import load_pretrained


def start_from(model, pretrained, classes):
    """Load the weights of PRETRAINED into a network, for data with these classes. Returns lines for the log.

    If the weights have the same classes, the classifier is kept, reordered if the data have another order. If they have
    other classes, it keeps its fresh weights. Weights without class names are assumed to have the classes of the data.
    """
    own = {name: tensor.clone() for name, tensor in model.state_dict().items() if is_below(name, model.classifier_layers)}
    source, kept = load_pretrained(model, pretrained)
    if kept:
        return [f'weights from {source}, which {kept.why}: {", ".join(kept)} keep their fresh weights']
    checkpoint = checkpoint_at(file_in_library(model.config.PUBLISHED.WEIGHTS, pretrained))
    names = checkpoint.class_names if checkpoint else []
    imagenet = names_to_show([], 1000) if not names and len(classes) == 1000 else []
    found = order(classes, names or imagenet)
    if found == list(range(len(classes))):
        return [f'weights from {source}']
    if not Path(pretrained).exists() and not is_address(pretrained):
        names = names or imagenet                                  # a tag of published weights
    if not are_known(names) or not are_known(classes):
        return [f'weights from {source}; the names of its classes, or those of the data, are not known: the classifier is '
                'kept, and class numbers are assumed to be the same']
    if found is not None:
        _reorder(model, found)
        return [f'weights from {source}, which has the same classes in another order: its classifier is put into that of the '
                'data']
    for name, tensor in model.state_dict().items():
        if name in own:
            tensor.set_value(own[name])
    return [f'weights from {source}, which knows other classes: {difference(classes, names, "the data", "the weights")}. '
            f'{", ".join(own)} keep their fresh weights']


@paddle.no_grad()
def _reorder(model, found):
    """Reorder the classes of the classifier. `found` has the old number of each class, in the new order."""
    numbers = paddle.to_tensor(found)
    for name, layer in model.named_sublayers():
        for parameter in layer.parameters(include_sublayers=False) if is_below(name, model.classifier_layers) else ():
            axis = parameter.ndim - 1 if isinstance(layer, nn.Linear) else 0       # Linear: (in, out); Conv2D: (out, in, h, w)
            parameter.set_value(parameter.index_select(numbers, axis=axis))
