"""Configuration: keys with their defaults and bounds, yaml files, and the command line."""
from image_classification.config.arguments import (argument_parser, config_from_args, opening_lines, overrides_of, parse_opts,
                                                   places_of)
from image_classification.config.bounds import check
from image_classification.config.defaults import BOUNDS, DEFAULTS
from image_classification.config.loading import (bounds_of, changed, check_values, config_from_text, differences,
                                                 families, family_defaults, find_config, get_config, keys_of, keys_set,
                                                 model_yamls, refused_by)
from image_classification.config.options import Parser
from image_classification.config.spellings import keys_below
from image_classification.installation import CONFIGS

__all__ = ['BOUNDS', 'CONFIGS', 'DEFAULTS', 'Parser', 'argument_parser', 'bounds_of', 'changed', 'check', 'check_values',
           'config_from_args', 'config_from_text', 'differences', 'families', 'family_defaults', 'find_config', 'get_config',
           'keys_below', 'keys_of', 'keys_set', 'model_yamls', 'opening_lines', 'overrides_of', 'parse_opts', 'places_of',
           'refused_by']
