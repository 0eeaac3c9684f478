"""PP-HGNetV2's stem for phone engines, see `image_classification/fuse.py`."""
import numpy as np
import paddle
import paddle.nn.functional as F

from image_classification.hgnet_v2.model import AT_END, Stem

_LEAST = -1e30                                                     # instead of infinity, which engines treat differently


class MaskedPool(Stem):
    """The zeros beyond the border are a constant map instead of a padding, which Paddle-Lite lacks. For one size of images."""

    def pool(self, x):
        pooled = F.max_pool2d(x, 2, 1, AT_END)
        if not self.zeros:
            return pooled
        beyond = np.full([1, 1, *x.shape[2:]], _LEAST, np.float32)
        beyond[:, :, -1] = beyond[:, :, :, -1] = 0.0
        return paddle.maximum(pooled, paddle.to_tensor(beyond))


def mask(stem):
    stem.__class__ = MaskedPool


PHONE = {Stem: mask}
