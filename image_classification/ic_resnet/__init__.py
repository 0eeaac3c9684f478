"""IC-ResNet: a ResNet whose 3x3 convolutions are inception convolutions."""
from image_classification.ic_resnet.model import ICResNet, build_model
from image_classification.ic_resnet.patterns import read_pattern, write_pattern
from image_classification.ic_resnet.search import dilation_pattern, inherit_weights, search_dilations

__all__ = ['ICResNet', 'build_model', 'dilation_pattern', 'inherit_weights', 'read_pattern', 'search_dilations',
           'write_pattern']
