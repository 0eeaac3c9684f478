"""Faster equivalents of ShuffleNet V2's layers for inference engines, see `image_classification/fuse.py`."""
import paddle

from image_classification.layers import Stage, channel_shuffle


class ChosenHalves(Stage):
    """Each unit selects its two halves from the unshuffled channels, which saves moving all channels in a shuffle and again in
    a split."""

    def forward(self, x):
        down, *units = self
        left, right = down.branch1(x), down.branch2(x)
        for unit in units:
            both = paddle.concat([left, right], axis=1)            # not shuffled
            left = both.index_select(self.order[:self.half], axis=1)
            right = unit.branch2(both.index_select(self.order[self.half:], axis=1))
        # Not `index_select`: with it, OpenVINO's logits differ by a thousandth of their deviation.
        return channel_shuffle(paddle.concat([left, right], axis=1), 2)


def choose_halves(stage):
    stage.half = stage[0].branch2[-3].weight.shape[0]              # channels of its last convolution
    order = paddle.arange(2 * stage.half).reshape([2, -1]).transpose([1, 0]).flatten()
    stage.register_buffer('order', order, persistable=False)       # order of the shuffled channels
    stage.__class__ = ChosenHalves


ONNX = {Stage: choose_halves}
