"""The networks of MobileNetV4's paper as in timm, stage by stage. The first block of each stage has stride 2.

A block is one of

- ('conv', kernel, channels): convolution, batch norm, activation;
- ('fused', expansion, channels): a 3x3 convolution that expands, then a 1x1 convolution that does not;
- ('uib', first kernel, second kernel, expansion, channels): a universal inverted bottleneck. It has optional depthwise
  convolutions before and after the expansion; kernel 0 leaves one out. Both make an ExtraDW block, the second alone an inverted
  residual, the first alone a ConvNeXt block, and neither a feed-forward network;
- ('attention', heads, channels of each, stride of keys and values, channels): mobile multi-query attention.
"""
CONV = 'conv'
LAST = CONV, 1, 960                                                 # the last stage of every network


def uib(first, second, expansion, channels, times=1):
    return [('uib', first, second, expansion, channels)] * times


def attention(heads, dim, stride, channels):
    return [('attention', heads, dim, stride, channels)]


CONV_SMALL = [
    [(CONV, 3, 32), (CONV, 1, 32)],
    [(CONV, 3, 96), (CONV, 1, 64)],
    [*uib(5, 5, 3, 96), *uib(0, 3, 2, 96, 4), *uib(3, 0, 4, 96)],
    [*uib(3, 3, 6, 128), *uib(5, 5, 4, 128), *uib(0, 5, 4, 128), *uib(0, 5, 3, 128), *uib(0, 3, 4, 128, 2)],
    [LAST]]
CONV_MEDIUM = [
    [('fused', 4, 48)],
    [*uib(3, 5, 4, 80), *uib(3, 3, 2, 80)],
    [*uib(3, 5, 6, 160), *uib(3, 3, 4, 160, 2), *uib(3, 5, 4, 160), *uib(3, 3, 4, 160), *uib(3, 0, 4, 160), *uib(0, 0, 2, 160),
     *uib(3, 0, 4, 160)],
    [*uib(5, 5, 6, 256), *uib(5, 5, 4, 256), *uib(3, 5, 4, 256, 2), *uib(0, 0, 4, 256), *uib(3, 0, 4, 256), *uib(3, 5, 2, 256),
     *uib(5, 5, 4, 256), *uib(0, 0, 4, 256, 2), *uib(5, 0, 2, 256)],
    [LAST]]
CONV_LARGE = [
    [('fused', 4, 48)],
    [*uib(3, 5, 4, 96), *uib(3, 3, 4, 96)],
    [*uib(3, 5, 4, 192), *uib(3, 3, 4, 192, 3), *uib(3, 5, 4, 192), *uib(5, 3, 4, 192, 5), *uib(3, 0, 4, 192)],
    [*uib(5, 5, 4, 512, 4), *uib(5, 0, 4, 512), *uib(5, 3, 4, 512), *uib(5, 0, 4, 512, 2), *uib(5, 3, 4, 512),
     *uib(5, 5, 4, 512), *uib(5, 0, 4, 512, 3)],
    [LAST]]
HYBRID_MEDIUM = [
    [('fused', 4, 48)],
    [*uib(3, 5, 4, 80), *uib(3, 3, 2, 80)],
    [*uib(3, 5, 6, 160), *uib(0, 0, 2, 160), *uib(3, 3, 4, 160), *uib(3, 5, 4, 160), *attention(4, 64, 2, 160),
     *uib(3, 3, 4, 160), *attention(4, 64, 2, 160), *uib(3, 0, 4, 160), *attention(4, 64, 2, 160),
     *uib(3, 3, 4, 160), *attention(4, 64, 2, 160), *uib(3, 0, 4, 160)],
    [*uib(5, 5, 6, 256), *uib(5, 5, 4, 256), *uib(3, 5, 4, 256, 2), *uib(0, 0, 2, 256), *uib(3, 5, 2, 256), *uib(0, 0, 2, 256),
     *uib(0, 0, 4, 256), *attention(4, 64, 1, 256), *uib(3, 0, 4, 256), *attention(4, 64, 1, 256),
     *uib(5, 5, 4, 256), *attention(4, 64, 1, 256), *uib(5, 0, 4, 256), *attention(4, 64, 1, 256), *uib(5, 0, 4, 256)],
    [LAST]]
HYBRID_LARGE = [
    [('fused', 4, 48)],
    [*uib(3, 5, 4, 96), *uib(3, 3, 4, 96)],
    [*uib(3, 5, 4, 192), *uib(3, 3, 4, 192, 3), *uib(3, 5, 4, 192), *uib(5, 3, 4, 192, 2),
     *(attention(8, 48, 2, 192) + uib(5, 3, 4, 192)) * 3, *attention(8, 48, 2, 192), *uib(3, 0, 4, 192)],
    [*uib(5, 5, 4, 512, 4), *uib(5, 0, 4, 512), *uib(5, 3, 4, 512), *uib(5, 0, 4, 512, 2), *uib(5, 3, 4, 512),
     *uib(5, 5, 4, 512),
     *(attention(8, 64, 1, 512) + uib(5, 0, 4, 512)) * 4],
    [LAST]]
# (channels of the stem, stages, activation).
ARCHITECTURES = {'conv_small': (32, CONV_SMALL, 'relu'), 'conv_medium': (32, CONV_MEDIUM, 'relu'),
                 'conv_large': (24, CONV_LARGE, 'relu'), 'hybrid_medium': (32, HYBRID_MEDIUM, 'relu'),
                 'hybrid_large': (24, HYBRID_LARGE, 'gelu')}
