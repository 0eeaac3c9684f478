"""Keys of the ShuffleNet V2 family, below MODEL. The defaults are those of ShuffleNet V2 1x."""
from yacs.config import CfgNode as CN

from image_classification.config.bounds import BLOCKS, CHANNELS, Each

DEFAULTS = CN()
DEFAULTS.SHUFFLENET = CN()
DEFAULTS.SHUFFLENET.STEM_CHANNELS = 24, CHANNELS            # of the first convolution and the max pool
DEFAULTS.SHUFFLENET.REPEATS = [4, 8, 4], Each(BLOCKS)       # units of stages 2, 3 and 4; the first of each halves the map
DEFAULTS.SHUFFLENET.CHANNELS = [116, 232, 464], Each(CHANNELS)  # their output channels, even
DEFAULTS.SHUFFLENET.HEAD_CHANNELS = 1024, CHANNELS          # of the last 1x1 convolution

# This network has the names and shapes of ours at width 1; only the file name tells them apart.
REFUSED = [{'STYLES': ['paddleclas_swish', 'paddle_vision_swish'], 'FILE': 'v2_swish',
            'WHY': 'the ShuffleNetV2_swish of PaddleClas and of paddle.vision is another network, with swish in place of ReLU'}]
