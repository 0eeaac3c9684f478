"""Backbones for PaddleDetection (https://github.com/PaddlePaddle/PaddleDetection), in its registry once this is imported.

In its yamls a backbone is called by a name of `list_models()`, or MobileBackbone with the name or a yaml's path as `model`;
below that name stand keyword arguments:

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
        """`inputs` is a dictionary whose 'image' are the images."""
        return self.features(inputs['image'])


for _name, _backbone in by_name(MobileBackbone).items():
    globals()[_name] = register(_backbone)
