"""Choose the network and the weights that a fit starts from: published weights if they are available, else fresh ones."""
from dataclasses import dataclass

from paddle import nn

from image_classification.config import get_config
from image_classification.errors import UserError
from image_classification.installation import install_line
from image_classification.models import create_model, list_models
from image_classification.weights.catalogue import DEFAULT, meant
from image_classification.weights.packages import is_installed

KNOWN = ('efficientnet_lite0', 'mobilenet_v3_small_x1_0')          # their weights come from pip or an address; the best first
LARGER = ('efficientnet_lite1', 'efficientnet_lite2')              # also tried if pip has installed their weights
FRESH = 'shufflenet_v1_g3_x0_5'                                    # learns most from scratch in a few minutes on a small folder


@dataclass
class Start:
    """A network with the classes of its published weights."""
    network: nn.Layer
    pretrained: str                                                # value of PRETRAINED; '': fresh weights
    reason: str

    @property
    def name(self):
        return self.network.config.MODEL.NAME


def choose_start(name=None):
    """The network `name` with its published weights; without a name, the best one whose weights are available.

    If no weights are available, the network has fresh ones.
    Raises:
        UserError: an unknown name.
    """
    if name and name not in list_models():
        create_model(name)                                         # raises the error
    problems = []
    for candidate in [name] if name else KNOWN:
        try:
            return published(candidate)
        except UserError as error:
            problems.append(str(error).rstrip('.'))
    fresh = name or FRESH
    return Start(create_model(fresh), '', f'{fresh} from scratch: {problems[0] if problems else "no weights are known"}. '
                 f"With {install_line('pretrained')} it would start from ImageNet's")


def larger_names(first):
    """Names of larger networks to compare with the default network `first`: those whose weights are already installed."""
    if first.name != KNOWN[0] or not first.pretrained:
        return []
    entries = {name: meant(get_config(name).PUBLISHED.WEIGHTS, DEFAULT) for name in LARGER}
    return [name for name, entry in entries.items() if is_installed(entry.get('PACKAGE', ''))]


def published(name):
    """The network `name` with its published weights. Raises UserError if these are not available."""
    return Start(create_model(name, pretrained=DEFAULT), DEFAULT, f'{name}, weights of ImageNet')
