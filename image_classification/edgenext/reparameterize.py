"""Faster equivalents of EdgeNeXt's layers for inference engines, see `image_classification/fuse.py`."""
import paddle
import paddle.nn.functional as F

from image_classification.edgenext.model import XCA, ConvEncoder, EdgeNeXt, PositionalEncodingFourier, SDTAEncoder

ONEDNN = {EdgeNeXt: 'convolutions'}


def fold_scale(encoder):
    """Fold each layer scale into the linear layer in front of it."""
    layers = [(encoder.pwconv2, 'gamma')]
    if isinstance(encoder, SDTAEncoder):
        layers.append((encoder.xca.proj, 'gamma_xca'))
    for layer, name in layers:
        gamma = getattr(encoder, name)
        if gamma is not None:
            layer.weight.set_value(layer.weight * gamma)           # (C, C')
            layer.bias.set_value(layer.bias * gamma)
            setattr(encoder, name, None)


class RowsAndColumns(PositionalEncodingFourier):
    """Projects the codes of rows and of columns separately and adds the results. This avoids a map with 4 * waves channels."""

    def forward(self, x):
        height, width = x.shape[2:]
        weight = self.token_projection.weight.flatten(1)           # (C, 4 * waves)
        of_rows, of_columns = weight.chunk(2, axis=1)
        rows = of_rows @ self._code(height) + self.token_projection.bias.unsqueeze(1)   # (C, H)
        return rows.unsqueeze(2) + (of_columns @ self._code(width)).unsqueeze(1)


def part_rows_and_columns(encoding):
    encoding.__class__ = RowsAndColumns


def _bottleneck(encoder, x):
    """Norm and bottleneck with the channels as last dimension. The constant matrices are then on the right of each product,
    where ONNX Runtime packs them once, at loading."""
    x = F.layer_norm(x, x.shape[-1:], encoder.norm.weight, encoder.norm.bias, encoder.norm._epsilon)
    x = encoder.act(F.linear(x, encoder.pwconv1.weight, encoder.pwconv1.bias))
    return F.linear(x, encoder.pwconv2.weight, encoder.pwconv2.bias)


class ConvEncoderByPixels(ConvEncoder):
    """The bottleneck runs with the channels last."""

    def forward(self, x):
        y = _bottleneck(self, self.dwconv(x).transpose([0, 2, 3, 1]))    # (B, H, W, C)
        return x + y.transpose([0, 3, 1, 2])


class SDTAEncoderByPixels(SDTAEncoder):
    """Everything except the convolutions runs with the channels last. Cosines are products that are divided by the lengths."""

    def attention(self, x):
        """(B, N, C) -> (B, N, C)."""
        heads, channels = self.xca.heads, x.shape[-1]
        qkv = F.linear(x, self.xca.qkv.weight, self.xca.qkv.bias).transpose([0, 2, 1])     # (B, 3 * C, N)
        both, value = qkv.reshape([0, 3 * heads, channels // heads, -1]).split([2 * heads, heads], axis=1)
        query, key = both.chunk(2, axis=1)                         # (B, heads, c, N)
        lengths = (both * both).sum(-1, keepdim=True).sqrt().clip(1e-12)
        of_query, of_key = lengths.chunk(2, axis=1)                # (B, heads, c, 1)
        scores = query @ key.transpose([0, 1, 3, 2]) * (self.xca.temperature / of_query / of_key.transpose([0, 1, 3, 2]))
        mixed = (F.softmax(scores) @ value).reshape([0, channels, -1]).transpose([0, 2, 1])
        return F.linear(mixed, self.xca.proj.weight, self.xca.proj.bias)

    def forward(self, x):
        mixed = self.mix(x)
        if self.pos_embd is not None:
            mixed = mixed + self.pos_embd(mixed)
        pixels = mixed.flatten(2).transpose([0, 2, 1])             # (B, N, C)
        norm = self.norm_xca
        pixels = pixels + self.attention(F.layer_norm(pixels, pixels.shape[-1:], norm.weight, norm.bias, norm._epsilon))
        return x + _bottleneck(self, pixels).transpose([0, 2, 1]).reshape(paddle.shape(x))


def by_pixels(encoder):
    """Only for variants with layer norm, which reads a pixel's channels anyway. Batch norms are folded into convolutions."""
    if isinstance(encoder, SDTAEncoder) and not encoder.bn_hs:
        encoder.__class__ = SDTAEncoderByPixels
    elif isinstance(encoder, ConvEncoder) and hasattr(encoder.norm, '_normalized_shape'):
        encoder.__class__ = ConvEncoderByPixels


class XCAByProducts(XCA):
    """Attention that needs only matrix products, sums of squares and square roots."""

    def forward(self, x, gamma=None):
        H, W = x.shape[2:]
        channels = x.shape[1]
        qkv = self.qkv(x.flatten(2)).reshape([0, 3 * self.heads, channels // self.heads, -1])     # (B, 3 * heads, c, H*W)
        both, value = qkv.split([2 * self.heads, self.heads], axis=1)
        query, key = (both / (both * both).sum(-1, keepdim=True).sqrt().clip(1e-12)).chunk(2, axis=1)
        attn = F.softmax(query @ key.transpose([0, 1, 3, 2]) * self.temperature)
        return self.proj((attn @ value).flatten(1, 2), gamma).reshape([0, 0, H, W])


def by_products(attention):
    attention.__class__ = XCAByProducts


FORMS = {ConvEncoder: fold_scale, SDTAEncoder: fold_scale, PositionalEncodingFourier: part_rows_and_columns}
ONNX = {ConvEncoder: by_pixels, SDTAEncoder: by_pixels}
PHONE = {XCA: by_products}
