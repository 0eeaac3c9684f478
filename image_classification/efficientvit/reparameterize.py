"""What EfficientViT says to engines, see `image_classification/fuse.py`."""
from image_classification.efficientvit.model import CascadedGroupAttention, EfficientViT

ONEDNN = {EfficientViT: 'convolutions'}


class Gathered(CascadedGroupAttention):
    """Its biases have been gathered once, for weights that no longer change."""

    def biases(self):
        return self.gathered


def gather(attn):
    attn.register_buffer('gathered', attn.biases(), persistable=False)
    attn.__class__ = Gathered


FORMS = {CascadedGroupAttention: gather}
