"""Common code of the backbones for all toolkits."""
from paddle import nn

from image_classification.errors import UserError
from image_classification.models import create_model, list_models


class Backbone(nn.Layer):
    """Feature maps of a network of the library, finest first.

    Args:
        model: a name of `list_models()`, or the path of a yaml.
        pretrained: as for `create_model`: True, a tag, an address or a file; None means fresh weights.
        out_strides: strides of the maps; None means the toolkit's usual ones.
        frozen_stages, norm_eval: see `FeatureExtractor`.
        keywords: keys of MODEL in lower case, as for `create_model`: in_chans, drop_path, ...
    Raises:
        UserError: as `create_model`.
    """

    usual_strides = ()

    def __init__(self, model, pretrained=None, out_strides=None, frozen_stages=-1, norm_eval=False, **keywords):
        super().__init__()
        self.features = create_model(model, pretrained, features_only=True, out_strides=out_strides or self.usual_strides,
                                     frozen_stages=frozen_stages, norm_eval=norm_eval, **keywords)
        self.channels, self.strides = self.features.channels, self.features.strides
        self.feat_channels = self.features.feat_channels

    def forward(self, x):
        return self.features(x)


def by_name(backbone):
    """{name: subclass of `backbone`} for all models. The subclass has the model's name and takes the other arguments."""
    return {name: _named(name, backbone) for name in list_models()}


def _named(model, backbone):
    def __init__(self, pretrained=None, out_strides=None, frozen_stages=-1, norm_eval=False, **keywords):
        backbone.__init__(self, model, pretrained, out_strides, frozen_stages, norm_eval, **keywords)
    return type(model, (backbone,), {'__init__': __init__, '__module__': backbone.__module__,
                                     '__doc__': f'Feature maps of {model}.\n\n{backbone.__doc__}'})


def cannot_import(toolkit, error):
    """The UserError to raise if a toolkit is missing or lacks a package."""
    return UserError(f'{toolkit} cannot be imported ({error}); wanted its clone on PYTHONPATH or as the working directory, and '
                     'the packages that its requirements.txt lists')
