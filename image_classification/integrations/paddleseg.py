"""Registers backbones for PaddleSeg (https://github.com/PaddlePaddle/PaddleSeg) when imported.

In PaddleSeg's yaml files, the `type` of a backbone is one of `list_models()`, or MobileBackbone with a name or the path of a
yaml as `model`. The other keys are keyword arguments:

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
