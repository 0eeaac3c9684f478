"""Registers backbones for PaddleDetection (https://github.com/PaddlePaddle/PaddleDetection) when imported.

In PaddleDetection's yaml files, the name of a backbone is one of `list_models()`, or MobileBackbone with a name or the path of
a yaml as `model`. Its keyword arguments follow under that name:

    PicoDet: {backbone: mobilenet_v3_small_x1_0, neck: LCPAN, head: PicoHeadV2}
    mobilenet_v3_small_x1_0: {pretrained: True}
"""
from image_classification.integrations.backbones import Backbone, by_name, cannot_import

try:
    from ppdet.core.workspace import register
    from ppdet.modeling.shape_spec import ShapeSpec
except ImportError as error:
    raise cannot_import('PaddleDetection', error) from error


@register
class MobileBackbone(Backbone):
    __doc__ = Backbone.__doc__
    usual_strides = (8, 16, 32)

    @property
    def out_shape(self):
        return [ShapeSpec(channels=c, stride=stride) for c, stride in zip(self.channels, self.strides)]

    def forward(self, inputs):
        """`inputs`: a dictionary with the images as 'image'."""
        return self.features(inputs['image'])


for _name, _backbone in by_name(MobileBackbone).items():
    globals()[_name] = register(_backbone)
