"""Building blocks that two or more families share. Nothing here imports a family."""
from image_classification.installation.paddle_build import check_paddle

check_paddle()                             # before the first `import paddle`, whose own error does not name a command

from image_classification.cpu.activations import GELU, Hardswish, gelu, hardswish
from image_classification.cpu.convolution import Conv2D
from image_classification.cpu.dynamic_relu import dynamic_relu
from image_classification.cpu.heads import merge_heads, per_head, read_map, softmax_of_tokens, split_heads
from image_classification.cpu.linear import Linear
from image_classification.cpu.norms import LayerNorm, LayerNorm2D, of_length_one
from image_classification.layers.drop_path import DropPath, drop_path_rates
from image_classification.layers.features import FeatureExtractor, drop_head, linear_weights, network_of
from image_classification.layers.gates import ChannelGates, hard_gate
from image_classification.layers.inception import BasicConv2d, Branches
from image_classification.layers.initializers import pytorch_uniform, set_parameter
from image_classification.layers.network import (MOST_CHANNELS, Network, PlainNetwork, StagedNetwork, beside, by_level,
                                                 check_size, classes_wanted, count_wanted, levels_of)
from image_classification.layers.reparameterized import (ConvAndNorm, MobileOneBlock, affine, batch_norm, convolution_of,
                                                         fold_behind, fold_in_front, identity_kernel, kernel_and_bias, merged,
                                                         pytorch_conv2d, summed)
from image_classification.layers.resize import resize_bilinear
from image_classification.layers.shuffle import channel_shuffle
from image_classification.layers.stage import Stage, set_checkpointing
from image_classification.layers.statistics import running_statistics, set_epsilon
from image_classification.layers.width import make_divisible

__all__ = ['BasicConv2d', 'Branches', 'ChannelGates', 'Conv2D', 'ConvAndNorm', 'DropPath', 'FeatureExtractor', 'GELU',
           'Hardswish', 'LayerNorm', 'LayerNorm2D', 'Linear', 'MOST_CHANNELS', 'MobileOneBlock', 'Network', 'PlainNetwork', 'Stage',
           'StagedNetwork', 'affine', 'batch_norm', 'beside', 'by_level', 'channel_shuffle', 'check_size', 'classes_wanted',
           'convolution_of', 'count_wanted', 'drop_head', 'drop_path_rates', 'dynamic_relu', 'fold_behind', 'fold_in_front',
           'gelu', 'hard_gate', 'hardswish', 'identity_kernel', 'kernel_and_bias', 'levels_of', 'linear_weights',
           'make_divisible', 'merge_heads', 'merged', 'network_of', 'of_length_one', 'per_head', 'pytorch_conv2d',
           'pytorch_uniform', 'read_map', 'resize_bilinear', 'running_statistics', 'set_checkpointing', 'set_epsilon',
           'set_parameter', 'softmax_of_tokens', 'split_heads', 'summed']
