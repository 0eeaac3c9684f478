"""IC-ResNet: a ResNet whose 3x3 convolutions are inception convolutions."""
from image_classification.ic_resnet.model import ICResNet, build_model
from image_classification.ic_resnet.patterns import read_pattern

__all__ = ['ICResNet', 'build_model', 'read_pattern']
