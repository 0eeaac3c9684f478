"""Keys of the PP-HGNetV2 family, below MODEL."""
from yacs.config import CfgNode as CN

from image_classification.config.bounds import BLOCKS, CHANNELS, Each, one_of

DEFAULTS = CN()
DEFAULTS.DESIGN = 'timm', one_of('timm', 'paddleclas')             # paddleclas: the stem's pool ignores the border
DEFAULTS.HGNET = CN()
DEFAULTS.HGNET.STEM = [16, 16], Each(CHANNELS, 2)                  # channels inside the stem and at its end
DEFAULTS.HGNET.INNER = [16, 32, 64, 128], Each(CHANNELS, 4)        # channels of a block's layers, by stage
DEFAULTS.HGNET.CHANNELS = [64, 256, 512, 1024], Each(CHANNELS, 4)  # channels of the stages
DEFAULTS.HGNET.DEPTHS = [1, 1, 2, 1], Each(BLOCKS, 4)              # blocks of the stages
DEFAULTS.HGNET.LAYERS = 3, BLOCKS                                  # layers of a block
