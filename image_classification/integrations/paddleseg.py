"""Backbones for PaddleSeg (https://github.com/PaddlePaddle/PaddleSeg), in its registry once this module is imported.

In its yamls a backbone's `type` is a name of `list_models()`, or MobileBackbone with the name or a yaml's path as `model`; the
other keys are keyword arguments:

    backbone: {type: mobilenet_v3_small_x1_0, pretrained: True}
"""
from image_classification.integrations.backbones import Backbone, by_name, cannot_import

try:
    from paddleseg.cvlibs import manager
except ImportError as error:
    raise cannot_import('PaddleSeg', error) from error


@manager.BACKBONES.add_component
class MobileBackbone(Backbone):
    __doc__ = Backbone.__doc__
    usual_strides = (4, 8, 16, 32)


for _name, _backbone in by_name(MobileBackbone).items():
    globals()[_name] = manager.BACKBONES.add_component(_backbone)
