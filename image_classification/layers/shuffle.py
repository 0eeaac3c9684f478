"""Channel shuffle, https://arxiv.org/abs/1707.01083."""
import paddle
import paddle.nn.functional as F


def channel_shuffle(x, groups):
    """Channel i of group g becomes channel g of group i: (B, C, H, W) -> same. 6 channels in 2 groups: 0, 3, 1, 4, 2, 5."""
    if paddle.in_dynamic_mode() and x.place.is_cpu_place():
        return F.channel_shuffle(x, groups)                        # 100 times faster, but without half precision and ONNX
    C, H, W = x.shape[1:]
    x = x.reshape([0, groups, C // groups, -1])                    # (B, groups, C / groups, H*W)
    return x.transpose([0, 2, 1, 3]).reshape([0, C, H, W])
