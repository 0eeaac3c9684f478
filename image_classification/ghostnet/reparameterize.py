"""Re-parameterises GhostNet for evaluation, see `image_classification/fuse.py`."""
import paddle.nn.functional as F
from paddle import nn

from image_classification.ghostnet.model import GhostBottleneckV3, GhostModuleV3, SqueezeExcite
from image_classification.layers import merged


def merge_halves(module):
    """Merge the branches of each half into one convolution."""
    half, in_channels = module.primary_rpr_conv[0].conv.weight.shape[:2]
    first = merged(module.primary_rpr_conv, in_channels, half, 1)
    cheap = merged([module.cheap_rpr_scale, module.cheap_rpr_skip, *module.cheap_rpr_conv], half, half, 3, 1, half)
    module.primary_rpr_conv, module.cheap_rpr_conv = nn.LayerList([first]), nn.LayerList([cheap])
    module.cheap_rpr_scale = module.cheap_rpr_skip = None


def merge_depthwise(block):
    """Merge the branches of the strided convolution, if the block has one."""
    if block.stride > 1:
        channels, _, kernel, _ = block.dw_rpr_conv[0].conv.weight.shape
        conv = merged([block.dw_rpr_scale, *block.dw_rpr_conv], channels, channels, kernel, block.stride, channels)
        block.dw_rpr_conv, block.dw_rpr_scale = nn.LayerList([conv]), None


class OneGate(SqueezeExcite):
    """The hard sigmoid is one operator, which ONNX Runtime fuses with the convolution in front of it."""

    def forward(self, x):
        gate = self.conv_expand(F.relu(self.conv_reduce(F.adaptive_avg_pool2d(x, 1))))
        return x * F.hardsigmoid(gate, slope=1 / 6, offset=0.5)


def one_gate(layer):
    layer.__class__ = OneGate


FORMS = {GhostModuleV3: merge_halves, GhostBottleneckV3: merge_depthwise}
ONNX = {SqueezeExcite: one_gate}
