"""Pieces that two or more families share. Knows no family."""
from image_classification.layers.conv_bn import conv_bn
from image_classification.layers.drop_path import DropPath
from image_classification.layers.features import FeatureExtractor

__all__ = ['DropPath', 'FeatureExtractor', 'conv_bn']
