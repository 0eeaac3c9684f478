"""How a training starts from weights: a classifier is kept only where its classes are those of the data, by their names."""
from pathlib import Path

import paddle
from paddle import nn

from image_classification.checkpoint import checkpoint_at
from image_classification.datasets.classes import are_known, difference, order
from image_classification.datasets.imagenet_names import names_to_show
from image_classification.engine.freeze import is_below
from image_classification.weights.catalogue import is_address
from image_classification.weights.pretrained import load_pretrained


def start_from(model, pretrained, classes):
    """Give a network the weights of PRETRAINED, for data of these classes. Returns lines for the log.

    A classifier of as many classes is kept where they are the same, put into the order of the data where that is another, and
    starts afresh where they are others. Weights that name no classes are taken to be of those of the data.
    """
    own = {name: tensor.clone() for name, tensor in model.state_dict().items() if is_below(name, model.classifier_layers)}
    source, kept = load_pretrained(model, pretrained)
    if kept:
        return [f'weights from {source}, which {kept.why}: {", ".join(kept)} start afresh']
    checkpoint = checkpoint_at(pretrained)
    names = checkpoint.class_names if checkpoint else []
    imagenet = names_to_show([], 1000) if not names and len(classes) == 1000 else []
    found = order(classes, names or imagenet)
    if found == list(range(len(classes))):
        return [f'weights from {source}']
    if not Path(pretrained).exists() and not is_address(pretrained):
        names = names or imagenet                                  # of a tag of published weights
    if not are_known(names) or not are_known(classes):
        return [f'weights from {source}; the names of its classes, or those of the data, are not known: the classifier is '
                'kept, number by number']
    if found is not None:
        _reorder(model, found)
        return [f'weights from {source}, which has the same classes in another order: its classifier is put into that of the '
                'data']
    for name, tensor in model.state_dict().items():
        if name in own:
            tensor.set_value(own[name])
    return [f'weights from {source}, which knows other classes: {difference(classes, names, "the data", "the weights")}. '
            f'{", ".join(own)} start afresh']


@paddle.no_grad()
def _reorder(model, found):
    """Put the classes of the classifier into another order: `found` has for each its number so far."""
    numbers = paddle.to_tensor(found)
    for name, layer in model.named_sublayers():
        for parameter in layer.parameters(include_sublayers=False) if is_below(name, model.classifier_layers) else ():
            axis = parameter.ndim - 1 if isinstance(layer, nn.Linear) else 0       # Linear: (in, out); Conv2D: (out, in, h, w)
            parameter.set_value(parameter.index_select(numbers, axis=axis))
