"""Keys of the UniFormer family, below MODEL. The defaults are those of UniFormer-S."""
from yacs.config import CfgNode as CN

from image_classification.config.bounds import BLOCKS, CHANNELS, MULTIPLIER, PART, SHARE, Each, within

DEFAULTS = CN()
DEFAULTS.ATTENTION_DROPOUT = 0.0, PART                      # of the attention weights
DEFAULTS.UNIFORMER = CN()
DEFAULTS.UNIFORMER.DEPTHS = [3, 4, 8, 3], Each(BLOCKS)      # blocks per stage: two local, then two global stages
DEFAULTS.UNIFORMER.DIMS = [64, 128, 320, 512], Each(CHANNELS)  # channels per stage
DEFAULTS.UNIFORMER.HEAD_DIM = 64, CHANNELS                  # channels per attention head
DEFAULTS.UNIFORMER.MLP_RATIO = 4.0, MULTIPLIER              # hidden width / width of the feed-forward layers
DEFAULTS.UNIFORMER.QKV_BIAS = True
DEFAULTS.UNIFORMER.QK_SCALE = 0.0, within(0, 1000)          # factor of the attention scores; 0: 1 / sqrt(HEAD_DIM)
DEFAULTS.UNIFORMER.CONV_STEM = False                        # overlapping patches, from 3 x 3 convolutions
DEFAULTS.UNIFORMER.LAYER_SCALE = 0.0, within(0, 1000)       # initial factors of the residual branches; 0: none
DEFAULTS.UNIFORMER.LIGHT = CN()
DEFAULTS.UNIFORMER.LIGHT.ENABLED = False                    # UniFormer-Light: prune tokens by the class token's attention
DEFAULTS.UNIFORMER.LIGHT.KEEP_RATIO = 0.5, SHARE            # share of the tokens that a global block attends to; 1: all
DEFAULTS.UNIFORMER.LIGHT.TRADE_OFF = 0.5, SHARE             # weight of a block's own attention in the scores that prune tokens
