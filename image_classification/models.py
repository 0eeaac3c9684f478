"""Build a network from its name or a configuration. No family is known here: MODEL.TYPE names the module to import."""
import difflib
import fnmatch
import importlib
import os
import warnings

import numpy as np
from yacs.config import CfgNode

from image_classification.config import changed, check_values, get_config, keys_below, model_yamls, refused_by
from image_classification.errors import UserError
from image_classification.layers import (MOST_CHANNELS, FeatureExtractor, classes_wanted, count_wanted, drop_head,
                                         set_checkpointing)
from image_classification.weights.catalogue import DEFAULT, classifier_of, file_in_library, meant, network_of, preprocessing_of
from image_classification.weights.key_styles import OtherNetwork
from image_classification.weights.pretrained import load_pretrained, load_whole, obtainable

# timm's names for these keys.
_KEYWORDS = {'drop_rate': 'DROPOUT', 'drop_path_rate': 'DROPPATH', 'in_chans': 'IN_CHANNELS'}


def list_models(pattern='*'):
    """Sorted names of the models that match a shell pattern, e.g. 'mobileformer*'."""
    return sorted(fnmatch.filter(model_yamls(), pattern))


def list_pretrained(pattern='*', reachable=False):
    """All published weights of the models that match a shell pattern, e.g. '*former*', as a sorted list of (model, tag).

    Args:
        reachable: list only weights that can be loaded now: they are in the cache, their package is installed, or their
            address (or its mirror) responds. Each address is asked for its first byte, several at a time.
    """
    found = [(name, entry) for name in list_models(pattern) for entry in get_config(name).PUBLISHED.WEIGHTS]
    if reachable:
        found = obtainable(found)
    return [(name, entry['TAG']) for name, entry in found]


def build_model(cfg):
    """Build the network of a configuration, with fresh weights. `model.config` is the configuration."""
    module = importlib.import_module(f'image_classification.{cfg.MODEL.TYPE.lower()}.model')
    model = module.build_model(cfg)
    model.config = cfg
    if cfg.MODEL.GRAD_CHECKPOINTING:
        set_checkpointing(model)
    return model


def build_for_weights(cfg, load, given=()):
    """Build the network of a configuration and load its weights. Returns (network, result of `load`).

    If the weights need other values of MODEL keys, the network is rebuilt with these values, with a warning. If the user has
    set one of these keys, the network stays as it is, and the weights must fit it.

    Args:
        load: called as `load(network, suited=...)` to load the weights; `suited` is that of `read_for`.
        given: dotted keys that the user has set.
    """
    model = build_model(cfg)
    try:
        return model, load(model, suited=True)
    except OtherNetwork as error:
        values = {f'MODEL.{key}': value for key, value in error.keys.items()}
    if values.keys() & set(given):
        return model, load(model, suited=False)                    # raises an error if the weights do not fit
    warnings.warn(f'the network is built with {", ".join(f"{key} {value}" for key, value in values.items())}, as its weights '
                  'require', stacklevel=3)
    model = build_model(changed(cfg, values))
    return model, load(model, suited=True)


def create_model(name, pretrained='', features_only=False, out_indices=None, out_strides=None, frozen_stages=-1,
                 norm_eval=False, **overrides):
    """Create a network. It is in training mode, Paddle's default; call `model.eval()` before inference.

    Args:
        name: a model of `list_models()`, the path of a yaml, or a configuration.
        pretrained: weights to load: True for the default published ones, a tag of `list_pretrained()`, an address, or a file
            (.safetensors, .pth, .pt, .tar or .pdparams, in any publisher's key style). A tag or a training checkpoint also
            sets the preprocessing in `model.config`. A training checkpoint sets the numbers of classes and channels as well,
            unless you give others. If `num_classes` differs from that of the weights, the classifier keeps its fresh weights,
            with a warning. If `in_chans` differs, the first convolution's weights are adapted. Weights of a variant that needs
            other MODEL keys, such as PaddleClas's MobileNetV3, set these keys.
        features_only: return a list of feature maps instead of logits; layers that only logits need are dropped.
        out_indices, out_strides, frozen_stages, norm_eval: options for feature maps, see `FeatureExtractor`.
        overrides: keys of MODEL in lower case, such as num_classes, in_chans, drop_rate, drop_path and those of the family.
            For example, tokens=[3, 128] sets MODEL.MF.TOKENS. If a family has the same key in two groups, write the group
            before it, as in stem_kernels=5, block_kernels=[...].
    Returns:
        nn.Layer: (B, in_chans, H, W) float32, normalized -> logits (B, num_classes), or a list of maps.
    Raises:
        UserError: the name or a key is unknown, the weights do not fit, or a level does not exist.
    """
    pretrained = _pretrained(pretrained)
    of_maps = {'out_indices': out_indices, 'out_strides': out_strides, 'frozen_stages': frozen_stages, 'norm_eval': norm_eval}
    _check_only_for_maps(of_maps, features_only)
    given = ()
    if isinstance(name, CfgNode):
        if overrides:
            raise UserError(f'create_model takes a configuration or keywords, not both; found {", ".join(overrides)}. '
                            'Put them into the configuration.')
        check_values(name, 'MODEL.')                               # the caller may have edited it
        cfg = with_preprocessing_of(name, pretrained) if pretrained else name
    else:
        if not isinstance(name, (str, os.PathLike)) or not os.fspath(name):
            raise UserError(f'create_model got the name {name!r}; wanted one of image_classification.list_models(), the path '
                            'of a yaml, or a configuration')
        cfg = get_config(name)
        places, overrides = _keys(overrides, cfg.MODEL)
        given = tuple(overrides)
        if pretrained:
            file = file_in_library(cfg.PUBLISHED.WEIGHTS, pretrained)
            known = classifier_of(file) if os.fspath(name) in model_yamls() else {}      # the user's own yaml has these
            overrides = {**known, **overrides, 'PRETRAINED': pretrained}
        if overrides:
            with warnings.catch_warnings():                        # the first get_config has already warned
                warnings.simplefilter('ignore')
                cfg = get_config(name, overrides, places=places)
    if pretrained:
        model, (source, kept) = build_for_weights(cfg, lambda model, suited: load_pretrained(model, pretrained, suited), given)
        if kept and not features_only:
            warnings.warn(f'{source} {kept.why}: {", ".join(kept)} keep their fresh weights', stacklevel=2)
    else:
        model = build_model(cfg)
    if not features_only:
        return model
    features = FeatureExtractor(model, **of_maps)
    drop_head(model)
    return features


def _check_only_for_maps(keywords, features_only):
    """Raise UserError if an option for feature maps is given without `features_only`."""
    for word, value in keywords.items():
        if not features_only and value is not None and not (value is False or isinstance(value, int) and value == -1):
            raise UserError(f'create_model got {word} {repr(value)[:80]} without features_only; wanted features_only=True, too')


def _pretrained(value):
    """The `pretrained` argument of `create_model` as a string for the key PRETRAINED."""
    if value is None or isinstance(value, bool):
        return DEFAULT if value else ''
    if not isinstance(value, (str, os.PathLike)):
        raise UserError(f'create_model got pretrained {repr(value)[:80]}; wanted True, a tag of '
                        'image_classification.list_pretrained(), an address or a file. A state dict goes to weights.from_torch')
    return os.fspath(value)


def _keys(keywords, model):
    """({dotted key: its name in error messages}, {dotted key: value}) for keyword arguments of `create_model`."""
    words = {}
    for word in keywords:
        key = f'MODEL.{_key(word, model)}'
        if key in words:
            raise UserError(f'create_model\'s {words[key]} and {word} are both {key}; give one of them')
        words[key] = word
    return ({key: f'create_model\'s {word}' for key, word in words.items()},
            {key: _value(key.removeprefix('MODEL.'), word, keywords[word]) for key, word in words.items()})


def _value(key, word, value):
    """The value of a keyword as a configuration needs it: without numpy types, and checked if it counts classes or channels."""
    value = value.tolist() if isinstance(value, (np.generic, np.ndarray)) else value
    if key == 'NUM_CLASSES':
        return classes_wanted(value, f'create_model got {word}')
    return count_wanted(value, f'create_model got {word}', MOST_CHANNELS) if key == 'IN_CHANNELS' else value


def network_by_name(text, weights=''):
    """Parse NAME or NAME=WEIGHTS of a command line. Returns (name, weights), or None if the text is no network's name.

    An existing file or directory takes precedence over a network of the same name.
    Args:
        weights: value of the --weights flag.
    Raises:
        UserError: `weights` is given without a network's name, or the text already names weights.
    """
    name, _, given = text.partition('=')
    if name in list_models() and not os.path.exists(text):
        if given and weights:
            raise UserError(f'{text} and --weights {weights} both name weights; wanted one of them')
        return name, given or weights
    if weights:
        raise UserError(f'--weights needs a model name; {text!r} is not one. See image_classification.list_models()')
    return None


def published_network(name, weights='', check=None, num_classes=None,
                      advice='wanted those of all its classes; for another number give the checkpoint of a training'):
    """The network `name` with published weights, classifier included, and with their preprocessing.

    Args:
        weights: like `pretrained` of `create_model`; by default the first tag.
        check: called with the network before its weights are loaded; raises an error if the network is unsuitable.
        num_classes: number of classes of the weights, if it is not the network's default.
        advice: end of the error message if the weights have another number of classes.
    Raises:
        UserError: as in `create_model`, or the weights have another number of classes.
    """
    weights = weights or DEFAULT
    classes = {} if num_classes is None else {'MODEL.NUM_CLASSES': num_classes}

    def load(network, suited):
        if check:
            check(network)
        load_whole(network, weights, advice, suited)
    return build_for_weights(get_config(name, {'PRETRAINED': weights, **classes}), load)[0]


def _key(word, model):
    """The dotted key below MODEL for a keyword: drop_path gives DROPPATH, and tokens gives MF.TOKENS if the family has it."""
    keys = keys_below(model)
    found = [key for key in keys if _plain(_KEYWORDS.get(word, word)) in _tails(key)]
    found = [key for key in found if '.' not in key] or found
    if len(found) > 1:
        words = [next(tail for tail in _tails(key, '_') if sum(_plain(tail) in _tails(other) for other in keys) == 1).lower()
                 for key in found]
        raise UserError(f'create_model\'s keyword {word!r} may be MODEL.{" or MODEL.".join(found)}; write {" or ".join(words)}')
    if not found:
        words = [key.rpartition('.')[2].lower() for key in keys] + list(_KEYWORDS)
        close = difflib.get_close_matches(word, words, n=1, cutoff=0.0)[0]
        raise UserError(f'create_model has no keyword {word!r}; the nearest is {close!r}')
    return found[0]


def _plain(word):
    return word.upper().replace('_', '')


def _tails(key, between=''):
    """Accepted names of a dotted key, the shortest first: MF.STEM.KERNELS -> KERNELS, STEMKERNELS, MFSTEMKERNELS."""
    parts = [part if between else _plain(part) for part in key.split('.')]
    return [between.join(parts[-n:]) for n in range(1, len(parts) + 1)]


def with_preprocessing_of(cfg, pretrained):
    """The configuration with PRETRAINED set, and with the preprocessing and the MODEL keys of these weights."""
    entries = cfg.PUBLISHED.WEIGHTS
    data = preprocessing_of(entries, pretrained, cfg.MODEL.NAME, refused_by(cfg.MODEL.TYPE))
    values = {f'DATA.{key}': value for key, value in data.items()}
    values.update({f'MODEL.{key}': value for key, value in network_of(entries, pretrained).items() if key in cfg.MODEL})
    return changed(cfg, {**values, 'PRETRAINED': (meant(entries, pretrained) or {'TAG': pretrained})['TAG']})
