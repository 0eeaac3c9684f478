"""What a training starts from: published weights that are at hand or can be had, else nothing."""
from dataclasses import dataclass

from paddle import nn

from image_classification.errors import UserError
from image_classification.models import create_model, list_models
from image_classification.weights.catalogue import DEFAULT

KNOWN = ('efficientnet_lite0', 'mobilenet_v3_small_x1_0')          # with weights that pip or an address brings, the best first
FRESH = 'mobileformer_26m'                                         # learns best from nothing on small folders


@dataclass
class Start:
    """A network of its published classes, and what is said of it."""
    network: nn.Layer
    pretrained: str                                                # PRETRAINED of its configuration; '': fresh weights
    reason: str


def choose_start(name=None):
    """The network `name` with its published weights or, without a name, the best whose weights can be had.

    Raises:
        UserError: an unknown name.
    """
    if name and name not in list_models():
        create_model(name)                                         # says what is wrong
    problems = []
    for candidate in [name] if name else KNOWN:
        try:
            network = create_model(candidate, pretrained=DEFAULT)
        except UserError as error:
            problems.append(str(error).rstrip('.'))
            continue
        return Start(network, DEFAULT, f'{candidate}, weights of ImageNet')
    fresh = name or FRESH
    return Start(create_model(fresh), '', f'{fresh} from nothing: {problems[0] if problems else "no weights are known"}. '
                 "With pip install -e '.[pretrained]' it would start from ImageNet's")
