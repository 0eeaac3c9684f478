"""Layer-wise decay of the learning rate, https://arxiv.org/abs/2106.08254: deeper blocks have higher rates."""
import paddle
from paddle import nn

from image_classification.layers import Stage

_CONTAINERS = (nn.Sequential, nn.LayerList, Stage)                 # their children are blocks; a subclass is a block


def rate_ratios(model, decay, image_size):
    """{parameter's name: rate factor}, with factor `decay` ** (number of later blocks). It is 1 in the last block, the head.

    A block is a direct child of the network or of a list in it: a residual block, a convolution of the stem with its norm, a
    layer of the classifier. Parameters of the network itself (tokens) belong to the first block. Auxiliary heads learn at the
    full rate.
    """
    depth, last = {}, -1
    for block in _in_order(model, image_size):
        parameters = block.parameters()
        last += last < 0 or any(parameter.ndim > 1 for parameter in parameters)  # else a norm, part of the block before it
        depth.update({id(parameter): last for parameter in parameters})
    depth.update({id(parameter): 0 for parameter in model.parameters(include_sublayers=False)})
    return {name: decay ** (last - depth.get(id(parameter), last)) for name, parameter in model.named_parameters()}


def _blocks(layer, prefix=''):
    """{name: block} of all blocks with parameters, in the order of registration."""
    blocks = {}
    for name, child in layer.named_children():
        blocks.update(_blocks(child, f'{prefix}{name}.') if type(child) in _CONTAINERS else {f'{prefix}{name}': child})
    return {name: block for name, block in blocks.items() if block.parameters()}


def _in_order(model, image_size):
    """The blocks in the order of the forward pass, which may differ from the order of registration: a network may register all
    down-samplings before all stages.

    A block that is never called, because the network uses its weights directly, is placed before the block registered next.
    Auxiliary heads are left out.
    """
    blocks = _blocks(model)
    order = _called(model, blocks, image_size)
    following = len(order)
    for name, block in reversed(blocks.items()):
        if name in order:
            following = order.index(name)
        elif not any(f'{layer}.'.startswith(f'{name}.') for layer in model.classifier_layers):
            order.insert(following, name)
    return [blocks[name] for name in order]


@paddle.no_grad()
def _called(model, blocks, image_size):
    """Names of the blocks in the order of their first call in a forward pass."""
    order, training = [], model.training
    hooks = [block.register_forward_pre_hook(lambda block, inputs, name=name: order.append(name))
             for name, block in blocks.items()]
    try:
        model.eval()
        model(paddle.zeros([1, model.config.MODEL.IN_CHANNELS, image_size, image_size]))
    finally:
        for hook in hooks:
            hook.remove()
        if training:
            model.train()
    return list(dict.fromkeys(order))
