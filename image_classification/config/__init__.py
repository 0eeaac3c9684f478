"""What a training and a network are told: keys and defaults, yaml files, the command line."""
from image_classification.config.arguments import argument_parser, config_from_args, opening_lines, parse_opts
from image_classification.config.loading import (CONFIGS, config_from_text, differences, families, family_defaults, find_config,
                                                 get_config, keys_below, model_yamls)

__all__ = ['CONFIGS', 'argument_parser', 'config_from_args', 'config_from_text', 'differences', 'families', 'family_defaults',
           'find_config', 'get_config', 'keys_below', 'model_yamls', 'opening_lines', 'parse_opts']
