"""Keys of the EfficientViT family, below MODEL. The defaults are those of the classifier EfficientViT-M0."""
from yacs.config import CfgNode as CN

DEFAULTS = CN()
DEFAULTS.EFFICIENTVIT = CN()
DEFAULTS.EFFICIENTVIT.DIMS = [64, 128, 192]       # channels of the three stages
DEFAULTS.EFFICIENTVIT.DEPTHS = [1, 2, 3]          # sandwich blocks per stage
DEFAULTS.EFFICIENTVIT.NUM_HEADS = [4, 4, 4]       # attention heads per stage
DEFAULTS.EFFICIENTVIT.KEY_DIMS = [16, 16, 16]     # channels of a head's query and key
DEFAULTS.EFFICIENTVIT.WINDOWS = [7, 7, 4]         # side of the attention windows per stage, in pixels of its map
DEFAULTS.EFFICIENTVIT.KERNELS = [5, 5, 5, 5]      # token interaction: kernel on the query of each head, in every stage
DEFAULTS.EFFICIENTVIT.STRIDE = 16                 # of the first stage: 16, or 8 for the tutorial's detector backbone
DEFAULTS.EFFICIENTVIT.HEAD = True                 # False: a detector's backbone, which gives the three stages' maps
