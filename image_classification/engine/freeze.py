"""Freeze a part of the network for fine-tuning, for the whole training or for its first epochs."""
import difflib

from paddle import nn

from image_classification.config import BOUNDS, check
from image_classification.errors import UserError

BACKBONE = 'backbone'
NORMS = (nn.BatchNorm1D, nn.BatchNorm2D, nn.BatchNorm3D, nn.SyncBatchNorm)


class Freeze:
    """Freezes parameters. Layers with only frozen parameters stay in evaluation mode: the running statistics of their batch
    norms do not change, and their dropout is off.

    Args:
        names: names of layers or parameters, e.g. 'stem' or 'blocks.0'. 'backbone' is all but the classifier; [] freezes
            nothing.
        epochs: number of epochs after which to unfreeze them; 0: never.
        norms: also freeze the statistics of all batch norms; their scale and shift may still learn.
    Raises:
        UserError: the network does not have a name, or nothing would be left to train.
    """

    def __init__(self, model, names, epochs, norms=False):
        check('TRAIN.FREEZE_EPOCHS', epochs, BOUNDS['TRAIN.FREEZE_EPOCHS'])
        frozen = _frozen_names(model, names)
        own = {name: parameter for name, parameter in model.named_parameters() if not parameter.stop_gradient}
        if frozen and not own.keys() - frozen:
            raise UserError(f'TRAIN.FREEZE {list(names)} leaves nothing to train; name fewer layers')
        self.epochs = epochs
        self.parameters = [parameter for name, parameter in own.items() if name in frozen]
        kept = {id(parameter) for name, parameter in model.named_parameters() if name in frozen}
        self.layers = [layer for layer in model.sublayers() if layer.parameters()
                       and all(id(parameter) in kept for parameter in layer.parameters())]
        self.norms = [layer for layer in model.sublayers() if norms and isinstance(layer, NORMS)]
        self.trained = sum(parameter.size for name, parameter in own.items() if name not in frozen)
        self.hold(not epochs)

    @property
    def thaws(self):
        """Whether the frozen parameters are unfrozen later."""
        return bool(self.parameters and self.epochs)

    def begin(self, epoch):
        """Start epoch `epoch` (counted from 0). The network must be in training mode."""
        frozen = not self.epochs or epoch < self.epochs
        self.hold(frozen)
        for layer in [*(self.layers if frozen else ()), *self.norms]:
            layer.eval()

    def hold(self, frozen):
        for parameter in self.parameters:
            parameter.stop_gradient = frozen


def _frozen_names(model, names):
    """Names of all parameters, running statistics included, below one of `names`."""
    known = [name for name, _ in model.named_parameters()]
    frozen = set()
    for wanted in names:
        if wanted == BACKBONE:
            if not model.classifier_layers:
                raise UserError(f'TRAIN.FREEZE is {BACKBONE}, but {type(model).__name__} has no classifier; name its layers')
            found = [name for name in known if not is_below(name, model.classifier_layers)]
        else:
            found = [name for name in known if is_below(name, [str(wanted)])]
        if not found:
            layers = [name for name, _ in model.named_sublayers()]
            near = difflib.get_close_matches(str(wanted), [BACKBONE, *layers, *known], n=3, cutoff=0.4)
            raise UserError(f'TRAIN.FREEZE names {wanted!r}, which {type(model).__name__} does not have; wanted {BACKBONE}, or '
                            f'the beginning of a parameter\'s name: {", ".join(near or known[:3])}')
        frozen.update(found)
    return frozen


def is_below(name, layers):
    """Whether a parameter is one of `layers` or inside one: blocks.1.weight is in blocks.1, but blocks.10.weight is not."""
    return any(f'{name}.'.startswith(f'{layer.rstrip(".")}.') for layer in layers)
