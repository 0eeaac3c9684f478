"""Faster equivalents of EfficientViT's layers for inference engines, see `image_classification/fuse.py`."""
import paddle
import paddle.nn.functional as F
from paddle import nn

from image_classification.efficientvit.model import (CascadedGroupAttention, EfficientViT, EfficientViTBackbone,
                                                     LocalWindowAttention)
from image_classification.layers.windows import with_zeros

ONEDNN = {EfficientViT: 'convolutions'}


class Gathered(CascadedGroupAttention):
    """For weights that no longer change: the biases are looked up once, and the scale is multiplied into the batch norms of the
    queries."""

    def biases(self):
        return self.gathered


def gather(attn):
    attn.register_buffer('gathered', attn.biases(), persistable=False)
    for token_interaction in attn.dws:
        norm = token_interaction.bn
        norm.weight.set_value(norm.weight * attn.scale)
        norm.bias.set_value(norm.bias * attn.scale)
    attn.scale, attn.__class__ = 1.0, Gathered


class Windows(LocalWindowAttention):
    """Computes the number of windows once for all blocks of a stage, without the twenty steps of a division. The projection
    works on single pixels, so it moves behind the windows, where it can be fused with the residual sum."""

    def forward(self, x):
        w, c = self.window, self.channels
        if self.leads:
            size, counts = [paddle.shape(part)[2:].astype('int64') for part in (x, x[:, :1, ::w, ::w])]
            rows, columns = counts.split(2)
            copied, channels, side, rest = [paddle.to_tensor([number], 'int64') for number in (0, c, w, -1)]
            behind = counts * w - size                             # rows and columns of zeros
            self.shared.append((
                size, paddle.concat([copied, behind[1:], copied, behind[:1]]).astype('int32'),
                paddle.concat([copied, channels, rows, side, columns, side]),
                paddle.concat([rest, rows, columns, channels, side, side]), paddle.concat([copied, channels, size + behind])))
        size, pads, parted, windows, whole = self.shared[-1]
        y = F.pad(x, pads).reshape(parted).transpose([0, 2, 4, 1, 3, 5])             # (B, rows, columns, C, w, w)
        y = self.attn(y.reshape([-1, c, w, w])).reshape(windows).transpose([0, 3, 1, 4, 2, 5])   # (B, C, rows, w, columns, w)
        y = paddle.slice(y.reshape(whole), [2, 3], [0, 0], size)
        return self.attn.behind(y.reshape(paddle.shape(x)))        # tells the engine that the size is that of x


def share_windows(network):
    for stage in (network.blocks1, network.blocks2, network.blocks3):
        windows, shared = [layer for layer in stage.sublayers() if type(layer) is LocalWindowAttention], []
        for i, layer in enumerate(windows):
            layer.leads, layer.shared, layer.__class__ = i == 0, shared, Windows
            layer.attn.behind, layer.attn.proj = layer.attn.proj, nn.Identity()


class Rows(Gathered):
    """For one image of a fixed size: (1, C, windows, N) -> the same, N = w * w. Windows are rows instead of a batch, which some
    engines lack, and no tensor has more than four dimensions. The token interaction treats each row as separate channels."""

    def attend(self, i, x, bias):
        windows, w = x.shape[2], self.window
        query, key, value = self.qkvs[i](x).split(self.parts, axis=1)
        kernel, offset = getattr(self, f'kernel_{i}'), getattr(self, f'offset_{i}')
        count = windows * len(offset)
        kernel, offset = (part.unsqueeze(1).expand([-1, windows, *part.shape[1:]]) for part in (kernel, offset))
        kernel = kernel.reshape([count, 1, *kernel.shape[-2:]])
        query, offset = query.reshape([1, count, w, w]), offset.reshape([count])
        query = F.conv2d(query, kernel, offset, padding=kernel.shape[-1] // 2, groups=count)
        query = query.reshape([1, -1, windows, w * w]).transpose([0, 2, 3, 1])   # (1, windows, N, d)
        attn = F.softmax(query @ key.transpose([0, 2, 1, 3]) + bias.unsqueeze([0, 1]), axis=-1)      # (1, windows, N, N)
        out = paddle.matmul(value.transpose([0, 2, 1, 3]), attn, transpose_y=True)
        return out.transpose([0, 2, 1, 3])                         # (1, C / heads, windows, N)


class WindowsAsRows(LocalWindowAttention):
    """See `Rows`."""

    def forward(self, x):
        w, (_, c, height, width) = self.window, x.shape
        rows, columns = -(-height // w), -(-width // w)
        x = with_zeros(x, {2: rows * w - height, 3: columns * w - width})
        x = x.reshape([1, c * rows, w, columns, w]).transpose([0, 1, 3, 2, 4])
        x = self.attn(x.reshape([1, c, rows * columns, w * w]))
        x = x.reshape([1, c * rows, columns, w, w]).transpose([0, 1, 3, 2, 4]).reshape([1, c, rows * w, columns * w])
        return x if (height, width) == (rows * w, columns * w) else x[:, :, :height, :width]


def windows_as_rows(windows):
    attn = windows.attn
    for i, (conv, norm) in enumerate((layer.c, layer.bn) for layer in attn.dws):
        factor = norm.weight * (norm._variance + norm._epsilon).rsqrt()
        attn.register_buffer(f'kernel_{i}', conv.weight * factor.reshape([-1, 1, 1, 1]), persistable=False)
        attn.register_buffer(f'offset_{i}', norm.bias - norm._mean * factor, persistable=False)
    attn.__class__, windows.__class__ = Rows, WindowsAsRows


FORMS = {CascadedGroupAttention: gather}
ONNX = {EfficientViT: share_windows, EfficientViTBackbone: share_windows}
PHONE = {LocalWindowAttention: windows_as_rows}
