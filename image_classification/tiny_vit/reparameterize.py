"""What TinyViT says to engines, see `image_classification/fuse.py`."""
from image_classification.layers.position_bias import Gathered, gather
from image_classification.tiny_vit.model import Attention


class GatheredAttention(Gathered, Attention):
    pass


FORMS = {Attention: lambda layer: gather(layer, GatheredAttention)}
