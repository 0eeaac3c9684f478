"""What a training starts from: published weights that are at hand or can be had, else nothing."""
from dataclasses import dataclass

from paddle import nn

from image_classification.config import get_config
from image_classification.errors import UserError
from image_classification.installation import install_line
from image_classification.models import create_model, list_models
from image_classification.weights.catalogue import DEFAULT, meant
from image_classification.weights.packages import is_installed

KNOWN = ('efficientnet_lite0', 'mobilenet_v3_small_x1_0')          # with weights that pip or an address brings, the best first
LARGER = ('efficientnet_lite1', 'efficientnet_lite2')              # tried beside the first of these, where pip has brought them
FRESH = 'shufflenet_v1_g3_x0_5'                                    # learns most from nothing in the minutes of a small folder


@dataclass
class Start:
    """A network of its published classes, and what is said of it."""
    network: nn.Layer
    pretrained: str                                                # PRETRAINED of its configuration; '': fresh weights
    reason: str

    @property
    def name(self):
        return self.network.config.MODEL.NAME


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
            return published(candidate)
        except UserError as error:
            problems.append(str(error).rstrip('.'))
    fresh = name or FRESH
    return Start(create_model(fresh), '', f'{fresh} from nothing: {problems[0] if problems else "no weights are known"}. '
                 f"With {install_line('pretrained')} it would start from ImageNet's")


def larger_names(first):
    """Relatives of the network that was chosen without a name, larger, whose weights are installed already."""
    if first.name != KNOWN[0] or not first.pretrained:
        return []
    entries = {name: meant(get_config(name).PUBLISHED.WEIGHTS, DEFAULT) for name in LARGER}
    return [name for name, entry in entries.items() if is_installed(entry.get('PACKAGE', ''))]


def published(name):
    """The network of that name with its published weights. Raises UserError where they cannot be had."""
    return Start(create_model(name, pretrained=DEFAULT), DEFAULT, f'{name}, weights of ImageNet')
