"""Squeeze-and-excitation with a hard sigmoid, https://arxiv.org/abs/1709.01507 and https://arxiv.org/abs/1905.02244."""
import paddle.nn.functional as F


def hard_gate(x, squeeze, excite, one_operator=False):
    """Each channel times a gate in 0..1 that two layers compute from all channels' means: (B, C, H, W) -> (B, C, H, W).

    As `one_operator`, ONNX Runtime makes the hard sigmoid part of the convolution in front of it; Paddle's keeps 1/6 in float32
    only, which float64 would see.
    """
    gate = excite(F.relu(squeeze(F.adaptive_avg_pool2d(x, 1))))    # (B, C, 1, 1)
    return x * (F.hardsigmoid(gate, slope=1 / 6, offset=0.5) if one_operator else F.relu6(gate + 3.0) / 6.0)
