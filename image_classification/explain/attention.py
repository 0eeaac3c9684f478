"""The attention of a network as arrays: what each token, pixel or channel takes from which others.

The networks keep none of it. What goes into and comes out of the layers is caught by hooks during one forward pass, and the
softmax is made again from that; the families' code stays as it is.
"""
from dataclasses import dataclass

import numpy as np
import paddle
import paddle.nn.functional as F

from image_classification.edgenext.model import XCA
from image_classification.efficientvit.model import LocalWindowAttention
from image_classification.errors import UserError
from image_classification.explain.inputs import check_network, explaining, network_input, watching
from image_classification.layers import softmax_of_tokens, split_heads
from image_classification.mobileformer.model import Attention, ToFormer_Bridge, ToMobile_Bridge
from image_classification.mobileformer_official.model import GlobalBlock, GlobalToLocal, LocalToGlobal
from image_classification.uniformer.light import EvoSABlock
from image_classification.uniformer.model import CBlock, SABlock

KINDS = {                                                          # kind: (what queries are, what keys are)
    'tokens to map': ('token', 'pixel'),                           # Mobile-Former: the tokens read the map
    'map to tokens': ('pixel', 'token'),                           # Mobile-Former: the map reads the tokens
    'tokens': ('token', 'token'),                                  # Mobile-Former: the tokens read each other
    'pixels': ('pixel', 'pixel'),                                  # UniFormer's global relations
    'windows': ('pixel', 'pixel'),                                 # EfficientViT: the pixels of a window read each other
    'channels': ('channel', 'channel'),                            # EdgeNeXt
    'kernels': ('channel', 'pixel'),                               # UniFormer's local relations, the same for every image
}


@dataclass(frozen=True)
class AttentionMap:
    """The attention of one layer for one image.

    `weights` (heads, queries, keys) are 0 to 1, and all keys of a query sum to 1. The exception is 'kernels': the weights of a
    depthwise convolution, (1, channels, k * k), of any sign.

    `query_pixels` (queries,) and `key_pixels` (keys,) or, where each query has its own, (queries, keys), say which pixel of the
    map one is: row * width + column. -1 is none: a class token, a pixel of padding, or the token that sums up the pixels which
    UniFormer-Light leaves out. They are None where queries or keys are tokens or channels.
    """
    layer: str                             # its name, as in `model.named_sublayers()`
    kind: str                              # one of KINDS
    weights: np.ndarray
    grid: tuple = None                     # (h, w) of the map; of 'kernels' that of the kernel
    query_pixels: np.ndarray = None
    key_pixels: np.ndarray = None

    def over_picture(self, index=None):
        """(heads, h, w): how much query `index` takes from each pixel; by default the mean of all queries. Where the pixels
        are the queries and tokens the keys, how much each pixel takes from token `index`.

        Raises:
            UserError: attention between tokens or channels, which has no place in the picture, or an index that is none.
        """
        if self.query_pixels is None and self.key_pixels is None:
            raise UserError(f'{self.layer} is attention among {self.kind}, which have no place in the picture; see its weights')
        weights, pixels = self.weights, self.key_pixels
        if pixels is None:
            weights, pixels = weights.transpose([0, 2, 1]), self.query_pixels
        if index is not None and not 0 <= index < weights.shape[1]:
            raise UserError(f'the index is {index}; wanted 0 to {weights.shape[1] - 1} for {self.layer}')
        chosen = slice(None) if index is None else slice(index, index + 1)
        pixels = np.broadcast_to(pixels, weights.shape[1:])[chosen]
        pictures = np.zeros([len(weights), self.grid[0] * self.grid[1]])
        for picture, rows in zip(pictures, weights[:, chosen]):
            np.add.at(picture, pixels[pixels >= 0], rows[pixels >= 0] / len(pixels))
        return pictures.reshape([-1, *self.grid]).astype(np.float32)

    def query_at(self, row, column):
        """The number of the query at a place of the picture, 0 to 1 from above and from the left; None where there is none."""
        h, w = self.grid
        pixel = min(int(row * h), h - 1) * w + min(int(column * w), w - 1)
        found = np.flatnonzero(self.query_pixels == pixel)
        return int(found[0]) if len(found) else None


def attention_maps(model, image):
    """Every attention layer's weights for one image, list of AttentionMap in the order in which they run.

    Args:
        model, image: see `grad_cam`; any network of MobileFormer, EdgeNeXt, UniFormer or EfficientViT, also without classes.
    Raises:
        UserError: another network, or an image that cannot be read.
    """
    check_network(model)
    layers = {name: layer for name, layer in model.named_sublayers() if type(layer) in _WEIGHTS}
    if not layers:
        raise UserError(f'{type(model).__name__} has no attention; wanted a MobileFormer, EdgeNeXt, UniFormer or EfficientViT. '
                        'grad_cam explains it')
    x = network_input(model, image)
    with explaining(model), paddle.no_grad():
        calls = _record(model, layers, x)
        found = []
        for name in [name for name in calls if name in layers]:
            kind, weigh = _WEIGHTS[type(layers[name])]
            weights, *rest = weigh(layers[name], name, calls)
            found.append(AttentionMap(name, kind, weights.astype('float32').numpy(), *rest))
    return found


def _record(model, layers, x):
    """{name: (inputs, output)} of a forward pass, of the layers and all below them, in the order in which they end."""
    calls = {}
    watched = {name: layer for name, layer in model.named_sublayers()
               if any(name == outer or name.startswith(f'{outer}.') for outer in layers)}
    with watching(watched, lambda name, inputs, output: calls.__setitem__(name, (inputs, output))):
        model.forward_features(x)
    return calls


def _every(grid):
    return np.arange(grid[0] * grid[1])


def _tokens_to_map(layer, name, calls):
    """ToFormer_Bridge: (weights (heads, M, H*W), grid, query pixels, key pixels), as all of these give them."""
    x, tokens = calls[name][0]
    keys = x.reshape([0, layer.heads, x.shape[1] // layer.heads, -1])
    weights = F.softmax(layer.heads_q_proj(layer.input_norm(tokens)) @ keys)
    return weights[0], tuple(x.shape[2:]), None, _every(x.shape[2:])


def _map_to_tokens(layer, name, calls):
    """ToMobile_Bridge: weights (heads, H*W, M)."""
    x, tokens = calls[name][0]
    return _pixels_by_tokens(x, layer.heads_k_proj(layer.input_token_norm(tokens)))


def _pixels_by_tokens(x, keys):                                    # (1, C, H, W), (1, heads, M, c), scaled
    query = x.reshape([0, keys.shape[1], keys.shape[3], -1])       # (1, heads, c, H*W)
    weights = softmax_of_tokens(keys @ query).transpose([0, 1, 3, 2])
    return weights[0], tuple(x.shape[2:]), _every(x.shape[2:]), None


def _among_tokens(layer, name, calls):
    """Former's attention: weights (heads, M, M)."""
    query, key, _ = (split_heads(part, layer.heads) for part in calls[f'{name}.qkv_proj'][1].chunk(3, axis=-1))
    return F.softmax(paddle.matmul(query * layer.scale, key, transpose_y=True))[0],


def _official_tokens_to_map(layer, name, calls):
    scores = calls[name][1][1]                                     # (1, heads, M, H, W)
    return F.softmax(scores.flatten(3))[0], tuple(scores.shape[3:]), None, _every(scores.shape[3:])


def _official_map_to_tokens(layer, name, calls):
    return _pixels_by_tokens(calls[name][0][0], split_heads(calls[f'{name}.k'][1], layer.heads) * layer.scale)


def _official_among_tokens(layer, name, calls):
    query = split_heads(calls[f'{name}.q'][1], layer.heads) * layer.scale
    return F.softmax(paddle.matmul(query, split_heads(calls[name][0][0], layer.heads), transpose_y=True))[0],


def _among_pixels(layer, name, calls):
    """UniFormer's global block: weights (heads, H*W, H*W)."""
    grid = tuple(calls[name][0][0].shape[2:])
    return layer.attn.attend(calls[f'{name}.norm1'][1])[1][0], grid, _every(grid), _every(grid)


def _among_kept_pixels(layer, name, calls):
    """UniFormer-Light's: the class token, the pixels that the block keeps, the best first, and a token for all others."""
    _, x, scores = calls[name][0]
    grid, weights = tuple(x.shape[2:]), layer.attn.attend(calls[f'{name}.norm1'][1])[1][0]
    pixels = _every(grid)
    if layer.keep_ratio < 1.0:
        kept = int(len(pixels) * layer.keep_ratio)
        pixels = np.append(paddle.argsort(scores, 1, descending=True)[0, :kept].numpy(), -1)
    pixels = np.append(-1, pixels)
    return weights, grid, pixels, pixels


def _among_channels(layer, name, calls):
    """XCA: weights (heads, c, c)."""
    x = calls[name][0][0]
    qkv = calls[f'{name}.qkv'][1].reshape([0, 3, layer.heads, x.shape[1] // layer.heads, -1])
    query, key = (part / paddle.norm(part, axis=-1, keepdim=True).clip(1e-12) for part in (qkv[:, 0], qkv[:, 1]))
    return F.softmax(paddle.einsum('bhcn,bhdn->bhcd', query, key) * layer.temperature)[0],


def _within_windows(layer, name, calls):
    """EfficientViT's cascaded heads: weights (heads, H*W, N), the N = w * w pixels of a query's window."""
    (h, w), side, attn = calls[name][0][0].shape[2:], layer.window, layer.attn
    heads = []
    for i, bias in enumerate(attn.biases()):
        query = calls[f'{name}.attn.dws.{i}'][1] * attn.scale      # (windows, key_dim, w, w)
        key = calls[f'{name}.attn.qkvs.{i}'][1].split(attn.parts, axis=1)[1]
        scores = paddle.matmul(query.flatten(2), key.flatten(2), transpose_x=True)   # (windows, N, N)
        heads.append(F.softmax(scores + bias))
    rows, columns = -(-h // side), -(-w // side)
    down, right = np.divmod(np.arange(rows * columns), columns)    # of each window
    inner = np.divmod(np.arange(side * side), side)                # of each pixel in it
    down, right = (side * start[:, None] + step for start, step in zip((down, right), inner))  # (windows, N)
    real = (down < h) & (right < w)
    pixels = np.where(real, down * w + right, -1)
    order = np.argsort(pixels[real])
    weights = paddle.stack(heads).flatten(1, 2)[:, paddle.to_tensor(np.flatnonzero(real)[order])]
    return weights, (h, w), _every((h, w)), np.repeat(pixels, side * side, 0)[real.ravel()][order]


def _kernels(layer, name, calls):
    """UniFormer's local block: weights (1, C, k * k)."""
    kernel = layer.attn.weight                                     # (C, 1, k, k)
    grid = tuple(kernel.shape[2:])
    return kernel.flatten(2).transpose([1, 0, 2]), grid, None, _every(grid)


_WEIGHTS = {                                                       # layer: (kind, what gives its weights)
    ToFormer_Bridge: ('tokens to map', _tokens_to_map), LocalToGlobal: ('tokens to map', _official_tokens_to_map),
    ToMobile_Bridge: ('map to tokens', _map_to_tokens), GlobalToLocal: ('map to tokens', _official_map_to_tokens),
    Attention: ('tokens', _among_tokens), GlobalBlock: ('tokens', _official_among_tokens),
    SABlock: ('pixels', _among_pixels), EvoSABlock: ('pixels', _among_kept_pixels), CBlock: ('kernels', _kernels),
    XCA: ('channels', _among_channels), LocalWindowAttention: ('windows', _within_windows)}
