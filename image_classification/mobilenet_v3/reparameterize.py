"""What MobileNetV3 says to engines, see `image_classification/fuse.py`."""
import paddle.nn.functional as F

from image_classification.mobilenet_v3.model import SqueezeExcitation


class OneGate(SqueezeExcitation):
    """The hard sigmoid is one operator, which ONNX Runtime makes part of the convolution in front of it."""

    def forward(self, x):
        return x * F.hardsigmoid(self.fc2(F.relu(self.fc1(F.adaptive_avg_pool2d(x, 1)))), slope=1 / 6, offset=0.5)


def one_gate(layer):
    layer.__class__ = OneGate


ONNX = {SqueezeExcitation: one_gate}
