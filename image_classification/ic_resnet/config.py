"""Keys of the IC-ResNet family, below MODEL. The defaults are those of IC-ResNet-50."""
from yacs.config import CfgNode as CN

from image_classification.config.bounds import BLOCKS, TEXT, Each, within

DEFAULTS = CN()
DEFAULTS.IC = CN()
DEFAULTS.IC.DEPTHS = [3, 4, 6, 3], Each(BLOCKS)   # bottlenecks per stage; the stages' inner widths are 64, 128, 256 and 512
DEFAULTS.IC.PATTERN = 'ic_resnet50', TEXT         # a name in patterns.py, or a .json file of the published format
DEFAULTS.IC.SUPERNET_DILATION = 0, within(0, 64)  # d: a supernet for tools/search_dilation.py, kernels of 2d + 1, no pattern
