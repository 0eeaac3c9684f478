"""Feature maps of any network of the library, for detectors and segmenters."""
import operator

from paddle import nn

from image_classification.errors import UserError


def network_of(model):
    """The network itself: `model`, or the one whose feature maps it gives."""
    return model.network if isinstance(model, FeatureExtractor) else model


class FeatureExtractor(nn.Layer):
    """(B, 3, H, W) -> list of maps (B, channels[i], H / strides[i], W / strides[i]), finest first.

    Wraps a network that has `forward_intermediates(x)` (one map per level), `feature_channels` and `feature_strides`.
    `out_indices` choose levels and count from 0 for the finest; negative ones count from the coarsest.
    """

    def __init__(self, network, out_indices=None):
        super().__init__()
        if not hasattr(network, 'forward_intermediates'):
            raise UserError(f'FeatureExtractor got a {type(network).__name__}; wanted a network of create_model')
        count = len(network.feature_channels)
        wanted = tuple(range(count)) if out_indices is None else _whole_numbers(out_indices)
        if not wanted or any(not -count <= i < count for i in wanted):
            raise UserError(f'out_indices is {repr(out_indices)[:80]}; wanted some of 0..{count - 1}, the {count} levels of '
                            f'{type(network).__name__} with strides {tuple(network.feature_strides)}, as a list, e.g. '
                            f'[{count - 1}]')
        self.out_indices = tuple(i % count for i in wanted)
        self.channels = tuple(network.feature_channels[i] for i in self.out_indices)
        self.strides = tuple(network.feature_strides[i] for i in self.out_indices)
        self.network = network

    def forward(self, x):
        maps = self.network.forward_intermediates(x)
        return [maps[i] for i in self.out_indices]


def _whole_numbers(values):
    """A tuple of them; () of anything else."""
    try:
        values = tuple(values)
        return () if any(isinstance(value, bool) for value in values) else tuple(map(operator.index, values))
    except TypeError:
        return ()
