"""Key styles of published weights, see `image_classification/weights/key_styles.py`.

This library uses the authors' names. PaddleClas appends `_conv` to layers that are convolutions here but linear layers in other
networks. It has no UniFormer-Light.
"""
from image_classification.uniformer.light import UniFormerLight
from image_classification.weights.key_styles import Style

PADDLECLAS = Style(rules=((r'^(patch_embed\d)\.proj\.(weight|bias)$', r'\1.proj_conv.\2'),
                          (r'^(blocks[12]\.\d+\.mlp\.fc[12])\.', r'\1_conv.')), paddle=True)


def styles(model):
    return {} if isinstance(model, UniFormerLight) else {'paddleclas': PADDLECLAS}
