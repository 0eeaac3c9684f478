"""The drawing of each family. Stages and blocks follow our `model.py`; the shapes beside them come from the network."""
from diagrams.nodes import Box, Branches, Chain, Skip, Wire
from diagrams.picture import Picture
from diagrams.special import Cascade, TwoPaths


def conv(name, note=''):
    return Box('conv', name, note)


def dw(name='3x3 depthwise', note='BN'):
    return Box('depthwise', name, note)


def pw(name, note=''):
    return Box('pointwise', name, note)


def act(name, note=''):
    return Box('norm', name, note)


def pool(name, note=''):
    return Box('pool', name, note)


def mix(name, note=''):
    return Box('mix', name, note)


def squeeze(gate):
    """Squeeze-and-excitation: multiplies every channel by a gate."""
    return Skip(Wire(), by=Chain(pool('mean of the map'), pw('1x1, ReLU'), pw(f'1x1, {gate}')), join='×')


def mobile_former():
    block = TwoPaths('dynamic ReLU')
    down = Chain(dw('3x3 depthwise, stride 2', 'BN, ReLU'), Wire('then as on the left'))
    head = Chain(Branches(Chain(pw('1x1 conv', 'BN, ReLU'), pool('mean of the map')), Box('tokens', 'token 0')),
                 pw('linear', 'h-swish'), pw('linear'))
    return Picture(
        'Mobile-Former', 'mobileformer_26m',
        [['3x3 conv / 2'], ['lite bottleneck / 2', '1 block'], ['2 blocks'], ['3 blocks'], ['2 blocks']],
        [['bridge to tokens', '1x1 conv, 576'], ['mean + token 0', 'linear, 1024'], ['linear']],
        [('Block: Mobile and Former side by side', block), ('Stride 2', down), ('Head', head)])


def mobile_former_official():
    block = TwoPaths('dynamic ReLU')
    down = Chain(dw('3x3 depthwise, up, stride 2', 'BN, dynamic ReLU'), pw('1x1 conv, down', 'BN'),
                 Skip(Chain(dw('3x3 depthwise, up', 'BN, dynamic ReLU'), pw('1x1 conv, down', 'BN'))))
    former = Chain(Skip(Chain(Box('attention', 'tokens ask tokens', 'keys and values unprojected'), pw('linear'))),
                   act('layer norm'), Skip(pw('linear, GELU, linear')), act('layer norm'))
    return Picture(
        'Mobile-Former (official)', 'mobileformer_official_26m',
        [['3x3 conv / 2'], ['lite block / 2', '1 block'], ['2 blocks'], ['3 blocks'], ['2 blocks']],
        [['bridge to tokens', '1x1 conv, 576'], ['mean + token 0', 'linear, 1024'], ['linear']],
        [('Block, stride 1', block), ('Mobile path, stride 2', down), ('Former', former)])


def edgenext():
    def bottleneck():
        return [pw('1x1 up x 4', 'GELU'), pw('1x1 down', 'layer scale')]
    local = Skip(Chain(dw('k x k depthwise', 'k = 3, 5, 7, 9'), act('layer norm'), *bottleneck()))
    sdta = Chain(dw('3x3 depthwise, cascaded', 'a piece of channels + the one before'),
                 Skip(Chain(act('layer norm'), Box('attention', 'attention of channels', 'XCA'))),
                 Skip(Chain(act('layer norm'), *bottleneck())))
    xca = Chain(pw('linear: Q, K, V'),
                Branches(Chain(act('Q, K: length 1'), Box('attention', 'softmax(Q K × temperature)', 'channels x channels')),
                         Wire('V'), join='×'), pw('linear'))
    return Picture(
        'EdgeNeXt', 'edgenext_small',
        [['4x4 conv / 4', '3 conv'], ['2x2 conv / 2', '2 conv, 1 SDTA'], ['2x2 conv / 2', '8 conv, 1 SDTA'],
         ['2x2 conv / 2', '2 conv, 1 SDTA']], [['mean', 'layer norm'], ['linear']],
        [('Conv encoder', local), ('SDTA encoder', sdta), ('XCA', xca)])


def uniformer():
    def position():
        return Skip(dw('3x3 depthwise', 'dynamic position'))
    local = Chain(position(), Skip(Chain(act('batch norm'), pw('1x1 conv'), dw('5x5 depthwise', 'local relations'),
                                         pw('1x1 conv'))),
                  Skip(Chain(act('batch norm'), pw('1x1, GELU, 1x1', 'feed-forward x 4'))))
    whole = Chain(position(), Skip(Chain(act('layer norm'), Box('attention', 'self-attention', 'among all pixels'))),
                  Skip(Chain(act('layer norm'), pw('linear, GELU, linear', 'feed-forward x 4'))))
    light = Chain(mix('sort the tokens', "by the class token's attention"),
                  Branches(Chain(Box('tokens', 'the better half'), Box('attention', 'attention, feed-forward')),
                           Chain(Box('tokens', 'the others', 'summed up as one token'), Wire('get what that one got'))),
                  mix('back in their order'))
    return Picture(
        'UniFormer', 'uniformer_small',
        [['4x4 patches', '3 local blocks'], ['2x2 patches', '4 local blocks'], ['2x2 patches', '8 global blocks'],
         ['2x2 patches', '3 global blocks']], [['batch norm', 'mean'], ['linear']],
        [('Local block', local), ('Global block', whole), ('UniFormer-Light: global block', light)])


def efficientvit():
    def bread():
        return [Skip(dw()), Skip(pw('1x1, ReLU, 1x1', 'feed-forward x 2'))]
    attention = Box('attention', 'cascaded group attention', 'in windows of 7 x 7')
    sandwich = Chain(*bread(), Skip(attention), *bread())
    merge = Chain(pw('1x1 conv, x 4', 'BN, ReLU'), dw('3x3 depthwise, stride 2', 'BN, ReLU'), squeeze('sigmoid'),
                  pw('1x1 conv', 'BN'))
    return Picture(
        'EfficientViT-M', 'efficientvit_m0',
        [['four 3x3 conv / 2', '1 sandwich'], ['merging / 2', '2 sandwiches'], ['merging / 2', '3 sandwiches']],
        [['mean', 'BN'], ['linear']],
        [('Sandwich', sandwich), ('Cascaded group attention', Cascade()), ('Patch merging', merge)])


def levit():
    def mlp():
        return Skip(pw('linear, h-swish, linear', 'BN each, x 2'))
    block = Chain(Skip(Chain(pw('linear: Q, K, V', 'BN'), Box('attention', 'attention', 'a bias per distance'),
                             pw('h-swish, linear', 'BN'))), mlp())
    down = Chain(Box('attention', 'attention', 'every second pixel asks'), pw('h-swish, linear', 'BN'), mlp())
    return Picture('LeViT', 'levit_128s',
                   [['four 3x3 conv / 2', '2 blocks'], ['attention / 2', '3 blocks'], ['attention / 2', '4 blocks']],
                   [['mean'], ['BN, linear', 'twice'], ['mean of both']], [('Block', block), ('Between two stages', down)])


def efficientformer_v2():
    def mlp():
        return Skip(Chain(pw('1x1 conv, up', 'BN, GELU'), dw('3x3 depthwise', 'BN, GELU'), pw('1x1 conv, down', 'BN, layer scale')))
    attention = Chain(Branches(Chain(pw('1x1: Q, K, V', 'BN'), Box('attention', 'talking heads', 'a bias per distance')),
                               dw('3x3 depthwise of V', 'BN')), pw('GELU, 1x1 conv', 'BN, layer scale'))
    return Picture('EfficientFormerV2', 'efficientformer_v2_s0',
                   [['two 3x3 conv / 2', '2 blocks'], ['3x3 conv / 2', '2 blocks'], ['3x3 conv / 2', '4 blocks', '2 with attention'],
                    ['attention / 2', '2 blocks', '2 with attention']],
                   [['BN, mean'], ['linear, twice'], ['mean of both']],
                   [('Block', mlp()), ('Block with attention', Chain(Skip(attention), mlp()))])


def tiny_vit():
    bottleneck = Chain(Skip(Chain(pw('1x1 conv, up', 'BN, GELU'), dw('3x3 depthwise', 'BN, GELU'), pw('1x1 conv, down', 'BN'))),
                       act('GELU'))
    block = Chain(Skip(Chain(act('layer norm'), Box('attention', 'attention in windows', 'a bias per distance'))),
                  dw('3x3 depthwise', 'BN'), Skip(Chain(act('layer norm'), pw('linear, GELU, linear', 'x 4'))))
    return Picture('TinyViT', 'tiny_vit_5m',
                   [['two 3x3 conv / 2', '2 bottlenecks'], ['merging / 2', '2 blocks'], ['merging / 2', '6 blocks'],
                    ['merging / 2', '2 blocks']], [['mean', 'layer norm'], ['linear']],
                   [('Bottleneck', bottleneck), ('Block', block)])


def shvit():
    def near():
        return Skip(dw())
    attention = Chain(Branches(Chain(Box('tokens', 'a part of the channels'), act('group norm'),
                                     Box('attention', 'attention', 'one head')), Wire('the other channels')),
                      pw('ReLU, 1x1 conv', 'BN'))
    ffn = pw('1x1, ReLU, 1x1', 'feed-forward x 2')
    return Picture('SHViT', 'shvit_s1',
                   [['four 3x3 conv / 2', '2 blocks, no attention'], ['merging / 2', '4 blocks'], ['merging / 2', '5 blocks']],
                   [['mean', 'BN'], ['linear']], [('Block', Chain(near(), Skip(attention), Skip(ffn)))])


def swiftformer():
    def convolutions(up, down):
        return Skip(Chain(dw(), pw(up, 'GELU'), pw(down, 'layer scale')))
    attention = Chain(Branches(Chain(pw('linear: Q', 'length 1'), mix('sum over all pixels', 'by learnt weights')),
                               pw('linear: K', 'length 1'), join='×'), pw('linear', '+ Q'), pw('linear', 'layer scale'))
    encoder = Chain(convolutions('1x1 conv', '1x1 conv'), Skip(attention),
                    Skip(Chain(act('batch norm'), pw('1x1, GELU, 1x1', 'x 4, layer scale'))))
    return Picture('SwiftFormer', 'swiftformer_xs',
                   [['two 3x3 conv / 2', '2 conv', '1 encoder'], ['3x3 conv / 2', '2 conv, 1 encoder'],
                    ['3x3 conv / 2', '5 conv, 1 encoder'], ['3x3 conv / 2', '3 conv, 1 encoder']],
                   [['BN, mean'], ['linear, twice'], ['mean of both']],
                   [('Convolutional block', convolutions('1x1 conv, up', '1x1 conv, down')), ('Encoder', encoder)])


def mobilenet_v1():
    block = Chain(dw('3x3 depthwise', 'BN, ReLU6'), pw('1x1 conv', 'BN, ReLU6'))
    return Picture('MobileNetV1', 'mobilenet_v1_x1_0',
                   [['3x3 conv / 2', '1 block'], ['2 blocks'], ['2 blocks'], ['6 blocks'], ['2 blocks']],
                   [['mean'], ['linear']],
                   [('Depthwise separable convolution', block)])


def inverted(stride, note, *gate, kernel=''):
    kernel = kernel or ('3x3 or 5x5' if gate else '3x3')
    return Chain(pw('1x1 conv, up', note), dw(f'{kernel} depthwise{stride}', note), *gate, pw('1x1 conv, down', 'BN, linear'))


def mobilenet_v2():
    return Picture('MobileNetV2', 'mobilenet_v2_x1_0',
                   [['3x3 conv / 2', '1 block'], ['2 blocks'], ['3 blocks'], ['7 blocks'], ['4 blocks']],
                   [['1x1 conv', '1280'], ['mean', 'linear']],
                   [('Inverted residual, stride 1', Skip(inverted('', 'BN, ReLU6'))),
                    ('Stride 2', inverted(', stride 2', 'BN, ReLU6'))])


def mobilenet_v3():
    block = Skip(inverted('', 'BN, ReLU or h-swish', squeeze('hard sigmoid')))
    return Picture('MobileNetV3', 'mobilenet_v3_large_x1_0',
                   [['3x3 conv / 2', '1 block'], ['2 blocks'], ['3 blocks'], ['6 blocks'], ['3 blocks']],
                   [['1x1 conv', '960'], ['mean', 'linear, 1280'], ['linear']],
                   [('Inverted residual with squeeze-and-excitation (in some blocks)', block)])


def mobilenext():
    block = Skip(Chain(dw('3x3 depthwise', 'BN, ReLU6'), pw('1x1 conv, down', 'BN, linear'), pw('1x1 conv, up', 'BN, ReLU6'),
                       dw('3x3 depthwise', 'BN, linear')))
    return Picture('MobileNeXt', 'mobilenext_x1_0',
                   [['3x3 conv / 2'], ['2 blocks'], ['3 blocks'], ['7 blocks'], ['8 blocks']], [['mean'], ['linear']],
                   [('Sandglass block', block)])


def efficientnet_lite():
    def block(stride):
        return inverted(stride, 'BN, ReLU6', kernel='3x3 or 5x5')
    return Picture('EfficientNet-Lite', 'efficientnet_lite0',
                   [['3x3 conv / 2', 'first block'], ['2 blocks'], ['2 blocks'], ['6 blocks'], ['5 blocks']],
                   [['1x1 conv', '1280'], ['mean', 'linear']],
                   [('First block', Chain(dw('3x3 depthwise', 'BN, ReLU6'), pw('1x1 conv', 'BN, linear'))),
                    ('Inverted residual, stride 1', Skip(block(''))), ('Stride 2', block(', stride 2'))])


def shufflenet_v1():
    def branch(stride):
        return [pw('1x1 conv in 3 groups', 'BN, ReLU'), mix('shuffle channels'), dw(f'3x3 depthwise{stride}'),
                pw('1x1 conv in 3 groups', 'BN')]
    return Picture('ShuffleNet V1', 'shufflenet_v1_g3_x1_0',
                   [['3x3 conv / 2'], ['max pool / 2'], ['4 units'], ['8 units'], ['4 units']], [['mean'], ['linear']],
                   [('Unit, stride 1', Chain(Skip(Chain(*branch(''))), act('ReLU'))),
                    ('Unit, stride 2', Branches(pool('3x3 mean / 2'), Chain(*branch(', stride 2'), act('ReLU'))))])


def shufflenet_v2():
    def branch(stride):
        return [pw('1x1 conv', 'BN, ReLU'), dw(f'3x3 depthwise{stride}'), pw('1x1 conv', 'BN, ReLU')]
    unit = Chain(mix('split channels in halves'), Branches(Wire('as it is'), Chain(*branch(''))), mix('shuffle channels'))
    down = Chain(Branches(Chain(dw('3x3 depthwise, stride 2'), pw('1x1 conv', 'BN, ReLU')), Chain(*branch(', stride 2'))),
                 mix('shuffle channels'))
    return Picture('ShuffleNet V2', 'shufflenet_v2_x1_0',
                   [['3x3 conv / 2'], ['max pool / 2'], ['4 units'], ['8 units'], ['4 units']],
                   [['1x1 conv', '1024'], ['mean', 'linear']], [('Unit, stride 1', unit), ('Unit, stride 2', down)])


def tower(*sizes):
    """A 1x1 convolution followed by others."""
    return Chain(pw('1x1'), *(conv(size) for size in sizes))


def spread(*sizes):
    """The same, ending in 1x3 and 3x1 in parallel."""
    return Chain(pw('1x1'), *(conv(size) for size in sizes), Branches(conv('1x3'), conv('3x1'), join='concat'))


def pooled(kind='mean'):
    return Chain(pool(f'3x3 {kind} pool'), pw('1x1'))


def sevens():
    """7x7 and two 7x7, each as 1x7 and 7x1."""
    return Branches(pw('1x1'), tower('1x7', '7x1'), tower('7x1', '1x7', '7x1', '1x7'), pooled())


def googlenet():
    block = Branches(pw('1x1'), tower('3x3'), Chain(pw('1x1'), conv('3x3', "the paper's 5x5")), pooled('max'))
    return Picture('GoogLeNet', 'googlenet',
                   [['7x7 conv / 2'], ['max pool / 2', '1x1, 3x3 conv'], ['max pool / 2', '2 blocks'],
                    ['max pool / 2', '5 blocks'], ['max pool / 2', '2 blocks']], [['mean'], ['linear']],
                   [('Inception block', block)])


def inception_v2():
    return Picture('Inception-v2', 'inception_v2',
                   [['three 3x3', 'conv / 2'], ['max pool / 2', '3x3 conv'], ['two 3x3', 'conv / 2', '3 of figure 5'],
                    ['reduction / 2', '5 of figure 6'], ['reduction / 2', '2 of figure 7']], [['mean'], ['linear']],
                   [('Figure 5: no 5x5', Branches(pw('1x1'), tower('3x3'), tower('3x3', '3x3'), pooled())),
                    ('Figure 6: 7x7 in two', sevens()),
                    ('Figure 7: wider', Branches(pw('1x1'), spread(), spread('3x3'), pooled()))])


def inception_v3():
    return Picture('Inception v3', 'inception_v3',
                   [['three 3x3', 'conv / 2'], ['max pool / 2', '1x1, 3x3 conv'], ['max pool / 2', '3 A'], ['B / 2', '4 C'],
                    ['D / 2', '2 E']], [['mean'], ['linear']],
                   [('Block A', Branches(pw('1x1'), tower('5x5'), tower('3x3', '3x3'), pooled())),
                    ('Block C', sevens()),
                    ('Block E', Branches(pw('1x1'), spread(), spread('3x3'), pooled()))])


def inception_v4():
    return Picture('Inception-v4', 'inception_v4',
                   [['three 3x3', 'conv / 2'], ['two mixed', 'steps / 2'], ['mixed step / 2', '4 A'], ['reduction / 2', '7 B'],
                    ['reduction / 2', '3 C']], [['mean'], ['linear']],
                   [('Block A', Branches(pw('1x1'), tower('3x3'), tower('3x3', '3x3'), pooled())),
                    ('Block B', sevens()),
                    ('Block C', Branches(pw('1x1'), spread(), spread('3x1', '1x3'), pooled()))])


def inception_resnet_v2():
    def block(scale, *branches):
        return Chain(Skip(Chain(Branches(*branches), pw('1x1 conv, linear', f'times {scale}'))), act('ReLU'))
    return Picture('Inception-ResNet-v2', 'inception_resnet_v2',
                   [['three 3x3', 'conv / 2'], ['max pool / 2', '1x1, 3x3 conv'], ['max pool / 2', '1 mixed, 10 A'],
                    ['reduction / 2', '20 B'], ['reduction / 2', '10 C', '1x1 conv']], [['mean'], ['linear']],
                   [('Block A', block(0.17, pw('1x1'), tower('3x3'), tower('3x3', '3x3'))),
                    ('Block B', block(0.1, pw('1x1'), tower('1x7', '7x1'))),
                    ('Block C', block(0.2, pw('1x1'), tower('1x3', '3x1')))])


def xception():
    def separable():
        return [act('ReLU'), dw('3x3 depthwise', ''), pw('1x1 conv', 'BN')]
    down = Skip(Chain(*separable(), *separable(), pool('3x3 max pool / 2')), by=pw('1x1 conv / 2', 'BN'))
    middle = Skip(Chain(*separable(), Wire('twice more')))
    return Picture('Xception', 'xception',
                   [['two 3x3', 'conv / 2'], ['block / 2'], ['block / 2'], ['block / 2', '8 middle blocks'],
                    ['block / 2', '2 separable']], [['mean'], ['linear']],
                   [('Block that halves the map', down), ('Middle block', middle)])


def ic_resnet():
    inception = Branches(conv('3x3', 'dilation 1, 1'), conv('3x3', 'dilation 1, 2'), conv('3x3', 'dilation 2, 1'), Wire('...'),
                         conv('3x3', 'dilation 4, 4'))
    return Picture('IC-ResNet', 'ic_resnet50',
                   [['7x7 conv / 2'], ['max pool / 2', '3 blocks'], ['4 blocks'], ['6 blocks'], ['3 blocks']],
                   [['mean'], ['linear']],
                   [('Bottleneck; each dilation has its share of the channels',
                     Chain(Skip(Chain(pw('1x1 conv, down', 'BN, ReLU'), inception, act('BN, ReLU'), pw('1x1 conv, up', 'BN'))),
                           act('ReLU')))])


def blazeface():
    def down():
        return Chain(pool('2x2 max pool'), Box('norm', 'zeros for', 'new channels'))
    return Picture('BlazeFace', 'blazeface_front', [['5x5 conv / 2', '11 blocks'], ['5 blocks']],
                   [['2 and 6 boxes', 'for each pixel', 'of the two maps']],
                   [('Single block', Chain(Skip(Chain(dw('3x3 depthwise', ''), pw('1x1 conv'))), act('ReLU'))),
                    ('Stride 2', Chain(Skip(Chain(dw('3x3 depthwise, stride 2', ''), pw('1x1 conv')), by=down()), act('ReLU'))),
                    ("The paper's double block", Chain(Skip(Chain(dw('5x5 depthwise', 'BN'), pw('1x1 conv, down', 'BN, ReLU'),
                                                                  dw('5x5 depthwise', 'BN'), pw('1x1 conv, up', 'BN'))),
                                                       act('ReLU')))])


def mobilenet_v4():
    block = Skip(Chain(dw('depthwise, or none', 'BN'), pw('1x1 conv, up', 'BN, ReLU'),
                       dw('depthwise, or none', 'BN, ReLU'), pw('1x1 conv, down', 'BN, linear')))
    asks = Branches(Chain(pw('1x1 conv', 'Q: 4 or 8 heads')),
                    Chain(dw('3x3 depthwise / 2', 'at stride 16; BN'), pw('1x1 conv', 'K and V: one head')), join='×')
    attention = Skip(Chain(act('batch norm'), asks, Box('attention', 'softmax, times V'), pw('1x1 conv', 'layer scale')))
    return Picture('MobileNetV4', 'mobilenet_v4_conv_small',
                   [['3x3 conv / 2'], ['3x3 conv / 2', '1x1 conv'], ['3x3 conv / 2', '1x1 conv'], ['6 bottlenecks / 2'],
                    ['6 bottlenecks / 2', '1x1 conv, 960']],
                   [['mean', '1x1 conv, 1280'], ['linear']],
                   [('Universal inverted bottleneck', block), ('Mobile attention (hybrid networks)', attention)])


def lcnet():
    def block(*gate):
        return Chain(dw('3x3 or 5x5 depthwise', 'BN, h-swish'), *gate, pw('1x1 conv', 'BN, h-swish'))
    return Picture('PP-LCNet', 'lcnet_x1_0',
                   [['3x3 conv / 2', '1 block'], ['2 blocks'], ['2 blocks'], ['6 blocks'], ['2 with gates']],
                   [['mean', '1x1 conv, 1280'], ['linear']],
                   [('Block', block()), ('With gates: the last two', block(squeeze('hard sigmoid')))])


def hgnet_v2():
    def layers(name, *parts):
        return Branches(Wire('as it is'), Chain(*parts), Chain(*parts, *parts, Wire(name)), join='concat')
    light = (pw('1x1 conv', 'BN'), dw('5x5 depthwise', 'BN, ReLU, affine'))
    aggregate = (pw('1x1 conv, squeeze', 'BN, ReLU, affine'), pw('1x1 conv, excite', 'BN, ReLU, affine'))
    plain = (conv('3x3 conv', 'BN, ReLU, affine'),)
    return Picture('PP-HGNetV2', 'hgnet_v2_b0',
                   [['stem / 4', '1 block'], ['depthwise / 2', '1 block'], ['depthwise / 2', '2 light blocks'],
                    ['depthwise / 2', '1 light block']], [['mean', '1x1 conv, 2048'], ['linear']],
                   [('Block of 3 to 5 layers', Chain(layers('and so on', *plain), *aggregate)),
                    ('Light block', Chain(layers('and so on', *light), *aggregate))])


def mobilevit():
    whole = Skip(Chain(act('layer norm'), Box('attention', 'attention', 'pixels at one place of all patches')))
    first = Branches(Wire('as it is'),
                     Chain(conv('3x3 conv', 'BN, SiLU'), pw('1x1 conv'), mix('patches of 2 x 2'), whole,
                           Skip(Chain(act('layer norm'), pw('linear, SiLU, linear'))), mix('back to a map'),
                           pw('1x1 conv', 'BN, SiLU')), join='concat')
    linear = Skip(Chain(act('group norm'), pw('1x1 conv: Q, K, V'),
                        Branches(Chain(Box('attention', 'softmax(Q)', 'one score a pixel'), Wire('mean of K')), act('ReLU(V)'),
                                 join='×'), pw('1x1 conv')))
    second = Chain(dw('3x3 depthwise', 'BN, SiLU'), pw('1x1 conv'), mix('patches of 2 x 2'), linear,
                   Skip(Chain(act('group norm'), pw('1x1, SiLU, 1x1'))), mix('back to a map'), pw('1x1 conv', 'BN'))
    return Picture('MobileViT', 'mobilevit_s',
                   [['3x3 conv / 2', '1 inverted residual'], ['3 inverted', 'residuals / 2'],
                    ['1 / 2', 'MobileViT block, 2'], ['1 / 2', 'MobileViT block, 4'], ['1 / 2', 'MobileViT block, 3']],
                   [['1x1 conv, 640', 'mean'], ['linear']],
                   [('MobileViT block', Chain(first, conv('3x3 conv', 'BN, SiLU'))), ('MobileViTv2 block', second)])


def efficientvit_mit():
    asks = Branches(Chain(Box('tokens', 'ReLU(K) V', 'sum over all pixels')), Chain(Box('tokens', 'ReLU(Q)')), join='×')
    attention = Skip(Chain(pw('1x1 conv: Q, K, V'), Branches(Wire('as they are'), Chain(dw('5x5 depthwise', ''),
                                                                                       pw('1x1 in groups')), join='concat'),
                           asks, act('divided by', 'ReLU(Q) sum of ReLU(K)'), pw('1x1 conv', 'BN')))
    local = Skip(Chain(pw('1x1 conv, x 4', 'h-swish'), dw('3x3 depthwise', 'h-swish'), pw('1x1 conv, down', 'BN, linear')))
    return Picture('EfficientViT-B (MIT)', 'efficientvit_mit_b1',
                   [['3x3 conv / 2', '1 separable', '2 inverted / 2'], ['3 inverted', 'residuals / 2'], ['1 / 2', '3 blocks'],
                    ['1 / 2', '4 blocks']], [['1x1 conv, 1536', 'mean'], ['linear, 1600', 'linear']],
                   [('Block: linear attention', attention), ('then an inverted residual', local)])


def repvit():
    def channels():
        return Skip(Chain(pw('1x1 up x 2', 'BN, GELU'), pw('1x1 down', 'BN')))
    branches = Branches(dw('3x3 depthwise'), dw('1x1 depthwise', ''), Wire('the map'), join='+')
    block = Chain(branches, act('BN', 'to here: one 3x3 when it runs'), squeeze('sigmoid'), channels())
    down = Chain(Wire('a block without gates'), dw('3x3 depthwise, stride 2'), pw('1x1 conv', 'BN'), channels())
    return Picture('RepViT', 'repvit_m0_9',
                   [['two 3x3', 'conv / 2', '2 blocks'], ['down / 2', '2 blocks'], ['down / 2', '14 blocks'],
                    ['down / 2', '2 blocks']], [['mean'], ['two linear', 'their mean']],
                   [('Block (gates in every second)', block), ('Downsampling', down)])


def mobileone():
    def layer(kernel, *more):
        branches = Branches(*(conv(kernel, 'BN') for _ in range(2)), Wire('...'), *more, act('BN'), join='+')
        return Chain(branches, act('ReLU'))
    return Picture('MobileOne', 'mobileone_s1',
                   [['3x3 conv / 2'], ['2 blocks'], ['8 blocks'], ['10 blocks'], ['1 block']], [['mean'], ['linear']],
                   [('Depthwise layer while it trains', layer('3x3', pw('1x1', 'BN'))), ('1x1 layer', layer('1x1')),
                    ('Block when it runs', Chain(dw('3x3 depthwise', 'ReLU'), pw('1x1 conv', 'ReLU')))])


def ghostnet():
    def ghost(note):
        return Box('pointwise', 'ghost module', note)
    module = Chain(pw('1x1 conv, half', 'BN, ReLU'), Branches(Wire('the half'), dw('3x3 depthwise'), join='concat'))
    gates = Chain(pool('2x2 mean'), pw('1x1 conv', 'BN'), dw('1x5, 5x1 depthwise'), act('sigmoid', 'as large as the map again'))
    block = Chain(ghost('up'), dw('3x3 or 5x5 depthwise', 'BN, only where stride is 2'), squeeze('hard sigmoid'), ghost('down'))
    return Picture('GhostNet', 'ghostnet_v1_x1_0',
                   [['3x3 conv / 2'], ['1 block', 'block / 2'], ['1 block', 'block / 2'], ['1 block', 'block / 2'],
                    ['5 blocks', 'block / 2']], [['4 blocks', '1x1 conv'], ['mean', 'linear, 1280'], ['linear']],
                   [('Ghost module', module), ('Bottleneck (gates in some)', Skip(block)),
                    ('Attention of v2 and v3: gates of the first module', gates)])


def starnet():
    star = Branches(Chain(pw('1x1 up x 4'), act('ReLU6')), pw('1x1 up x 4'), join='×')
    return Picture('StarNet', 'starnet_s1',
                   [['3x3 conv / 2', '3x3 conv / 2', '2 blocks'], ['3x3 conv / 2', '2 blocks'], ['3x3 conv / 2', '8 blocks'],
                    ['3x3 conv / 2', '3 blocks']], [['BN', 'mean'], ['linear']],
                   [('Block', Skip(Chain(dw('7x7 depthwise'), star, pw('1x1 down', 'BN'), dw('7x7 depthwise', ''))))])


def fastvit():
    def mlp():
        return Skip(Chain(dw('7x7 depthwise'), pw('1x1 up, GELU, 1x1 down', 'layer scale')))
    mixer = Chain(Skip(Chain(Branches(dw('3x3'), dw('1x1', 'BN'), act('BN'), join='+'), Wire('minus BN of the map'),
                             act('layer scale', 'all: one 3x3 when it runs'))), mlp())
    attention = Chain(Skip(Chain(act('BN'), Box('attention', 'self-attention', 'among all pixels'), act('layer scale'))), mlp())
    down = Chain(Branches(dw('7x7 depthwise / 2'), dw('3x3 depthwise / 2'), join='+'),
                 Branches(pw('1x1', 'BN'), act('BN'), join='+'), act('GELU'))
    return Picture('FastViT', 'fastvit_sa12',
                   [['3 layers', '/ 4', '2 blocks'], ['down / 2', '2 blocks'], ['down / 2', '6 blocks'],
                    ['down / 2', '7x7 position', '2 attention']], [['3x3, gates', 'mean'], ['linear']],
                   [('RepMixer block', mixer), ('Block with attention (SA12)', attention), ('Downsampling', down)])


FAMILIES = {
    'mobileformer': mobile_former, 'mobileformer_official': mobile_former_official, 'edgenext': edgenext,
    'uniformer': uniformer,
    'efficientvit': efficientvit, 'levit': levit, 'efficientformer_v2': efficientformer_v2, 'tiny_vit': tiny_vit, 'shvit': shvit,
    'swiftformer': swiftformer, 'mobilenet_v1': mobilenet_v1, 'mobilenet_v2': mobilenet_v2, 'mobilenet_v3': mobilenet_v3,
    'mobilenext': mobilenext, 'efficientnet_lite': efficientnet_lite, 'ghostnet': ghostnet, 'mobileone': mobileone,
    'repvit': repvit, 'fastvit': fastvit, 'starnet': starnet, 'shufflenet_v1': shufflenet_v1, 'shufflenet_v2': shufflenet_v2,
    'googlenet': googlenet, 'inception_v2': inception_v2, 'inception_v3': inception_v3,
    'inception_v4': inception_v4, 'inception_resnet_v2': inception_resnet_v2, 'xception': xception, 'ic_resnet': ic_resnet,
    'blazeface': blazeface, 'mobilenet_v4': mobilenet_v4, 'lcnet': lcnet, 'hgnet_v2': hgnet_v2, 'mobilevit': mobilevit,
    'efficientvit_mit': efficientvit_mit}
