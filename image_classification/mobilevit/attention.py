"""Reads the attention weights of MobileViT, see `image_classification/explain/attention.py`. That of the
second version is linear and has no weights for pairs of pixels."""
import numpy as np

from image_classification.mobilevit.model import PATCH, MobileViTBlock


def within_places(layer, calls):
    """Weights (heads, H*W, N) of a block's last transformer layer. The keys are the N pixels at the query's place in all
    patches."""
    last = f'transformer.{len(layer.transformer) - 1}.attn'
    weights = layer.transformer[len(layer.transformer) - 1].attn.attend(calls[last].inputs[0])[1]     # (4, heads, N, N)
    h, w = (-(-side // PATCH) * PATCH for side in calls[''].inputs[0].shape[2:])
    rows, columns = np.divmod(np.arange(h * w // PATCH ** 2), w // PATCH)          # of each patch
    inner = np.divmod(np.arange(PATCH ** 2), PATCH)                # of each place in it
    pixels = (PATCH * rows + inner[0][:, None]) * w + PATCH * columns + inner[1][:, None]             # (4, N)
    weights = weights.transpose([1, 0, 2, 3]).flatten(1, 2)        # (heads, 4 * N, N)
    return weights, (h, w), pixels.ravel(), np.repeat(pixels, pixels.shape[1], 0)


WEIGHTS = {MobileViTBlock: ('pixels', within_places)}
