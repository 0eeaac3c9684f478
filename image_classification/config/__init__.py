"""What a training and a network are told: keys and defaults, yaml files, the command line."""
from image_classification.config.arguments import argument_parser, config_from_args, opening_lines, overrides_of, parse_opts
from image_classification.config.defaults import DEFAULTS
from image_classification.config.loading import (CONFIGS, changed, config_from_text, differences, families, family_defaults, find_config,
                                                 get_config, keys_below, keys_of, keys_set, model_yamls)

__all__ = ['CONFIGS', 'DEFAULTS', 'argument_parser', 'changed', 'config_from_args', 'config_from_text', 'differences', 'families',
           'family_defaults', 'find_config', 'get_config', 'keys_below', 'keys_of', 'keys_set', 'model_yamls', 'opening_lines',
           'overrides_of', 'parse_opts']
