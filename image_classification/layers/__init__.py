"""Pieces that two or more families share. Knows no family."""
from image_classification.layers.conv_bn import conv_bn
from image_classification.layers.drop_path import DropPath
from image_classification.layers.features import FeatureExtractor
from image_classification.layers.heads import merge_heads, split_heads
from image_classification.layers.inception import BasicConv2d, Branches
from image_classification.layers.shuffle import channel_shuffle
from image_classification.layers.width import make_divisible

__all__ = ['BasicConv2d', 'Branches', 'DropPath', 'FeatureExtractor', 'channel_shuffle', 'conv_bn', 'make_divisible', 'merge_heads',
           'split_heads']
