"""How a configuration comes about: defaults, the family's defaults, BASE files, the yaml, the command line; later ones win."""
import difflib
import functools
import os
import runpy
import warnings
from pathlib import Path

import yaml
from yacs.config import CfgNode as CN

from image_classification.config.defaults import DEFAULTS
from image_classification.config.spellings import modernized
from image_classification.errors import UserError
from image_classification.weights.catalogue import DEFAULT, meant, preprocessing_of

PACKAGE = Path(__file__).resolve().parents[1]
CONFIGS = PACKAGE.parent / 'configs'


def family_defaults(model_type):
    """The MODEL keys of a family, from `image_classification/<type>/config.py`, whose network need not be imported for it."""
    path = PACKAGE / str(model_type).lower() / 'config.py'
    if not path.is_file():
        raise UserError(f'MODEL.TYPE is {model_type!r}, which is no family of this library. '
                        f'Wanted one of: {", ".join(families())}.')
    return _defaults_in(str(path))


@functools.cache
def _defaults_in(path):
    return runpy.run_path(path)['DEFAULTS']


def families():
    """Names of the family directories, sorted."""
    return sorted(path.parent.name for path in PACKAGE.glob('*/model.py'))


def model_yamls():
    """{model name: path of its yaml}: the yaml files in the family directories are the list of models."""
    return {path.stem: path for path in sorted(PACKAGE.glob('*/*.yaml'))}


def _yaml_of(model):
    """The path of a model's yaml; None where there is none."""
    if Path(model).name == model:
        return next((path for path in (directory / f'{model}.yaml' for directory in PACKAGE.iterdir()) if path.is_file()), None)


def find_config(name, beside=None):
    """The file that `name` means. A plain word is a model, whose yaml is in its family's directory. What ends in .yaml, or has
    directories, is a file: from `beside` or the working directory, or below configs/; only where none is, the model's."""
    name = os.fspath(name)
    stem = name.removesuffix('.yaml')
    models_own = _yaml_of(stem)
    if models_own and stem == name:
        return models_own
    below_configs = name[len('configs/'):] if name.startswith('configs/') else name
    for path in [*([Path(beside) / name] if beside else []), Path(name), CONFIGS / below_configs]:
        if path.is_file():
            return path
    if models_own:
        return models_own
    models = model_yamls()
    close = difflib.get_close_matches(Path(stem).name, models, n=3)
    hint = f' Did you mean {" or ".join(close)}?' if close else ''
    raise UserError(f'no configuration {name!r}: neither a file, nor below {CONFIGS}, nor one of the '
                    f'{len(models)} models.{hint}')


def get_config(name=None, overrides=None, recipe=None):
    """A frozen configuration.

    Args:
        name: a path, a path below configs/, or a model's name, which `find_config` tells apart: 'mobileformer_26m' is the
            network with the library's default training, 'mobileformer_26m.yaml' is configs/mobileformer_26m.yaml, its
            published recipe. None gives the defaults of MobileFormer.
        overrides: {dotted key: value} on top, checked like a file, e.g. {'MODEL.NUM_CLASSES': 10}.
        recipe: another file, which goes over `name` and below `overrides`.
    Raises:
        UserError: a file that does not exist or is no yaml; an unknown key (named with the nearest known one);
            a value of the wrong type (named with key, file and wanted type).
    """
    layers = [layer for file in filter(None, (name, recipe)) for layer in _read_chain(find_config(file))]
    if overrides:
        layers.append(('the command line', nested(overrides)))
    layers = _modernized(layers)
    _insert_preprocessing(layers)
    _follow_image_size(layers)
    return _merged(layers)


def config_from_text(text, source, overrides=None):
    """A frozen configuration from `cfg.dump()`'s text, e.g. the one stored in a checkpoint (`source` names it in errors), with
    `overrides` as of `get_config`."""
    layers = _modernized([(source, _parsed(text)), *([('the command line', nested(overrides))] if overrides else [])])
    _follow_image_size(layers)
    return _merged(layers)


def keys_set(name):
    """The dotted keys that the file `name` of `get_config` and its BASE files set."""
    return {key for _, tree in _modernized(_read_chain(find_config(name))) for key in _leaves(tree, '')}


def _parsed(text):
    """The content of a yaml, by libyaml where PyYAML has it: a sixth of the time."""
    return yaml.load(text, Loader=getattr(yaml, 'CSafeLoader', yaml.SafeLoader))


def _modernized(layers):
    """[(source, tree)] in today's keys; a warning per source that has other spellings."""
    modern = []
    for source, tree in layers:
        tree, notes = modernized(tree)
        modern.append((source, tree))
        if notes:
            warnings.warn(f'{source} has old spellings, read as: {"; ".join(notes)}', stacklevel=3)
    return modern


def _merged(layers):
    """The defaults with all layers [(source, tree)] written over them, frozen."""
    cfg = DEFAULTS.clone()
    cfg.MODEL.update(family_defaults(_last(layers, 'MODEL.TYPE') or DEFAULTS.MODEL.TYPE).clone())
    for source, tree in layers:
        _merge(cfg, tree, source, '', cfg)
    cfg.freeze()
    return cfg


def _last(layers, key):
    """The last value of a dotted key that is set in [(source, tree)], and not empty; None where none is."""
    found = None
    for _, node in layers:
        for part in key.split('.'):
            node = node.get(part) if isinstance(node, dict) else None
        found = node or found
    return found


def _insert_preprocessing(layers):
    """Behind the model's own yaml, the DATA keys that come with the weights of PRETRAINED; later files overrule them. In place of
    the default, the tag that it means."""
    pretrained, weights = _last(layers, 'PRETRAINED'), _last(layers, 'PUBLISHED.WEIGHTS') or []
    if not isinstance(pretrained, str) or not isinstance(weights, list):
        return                                                     # a wrong type is reported when the layers are merged
    data = preprocessing_of(weights, pretrained, _last(layers, 'MODEL.NAME') or DEFAULTS.MODEL.NAME)
    if data:
        own = {str(path) for path in model_yamls().values()}
        place = max([i for i, (source, _) in enumerate(layers) if source in own], default=-1)
        layers.insert(place + 1, (f'the weights {pretrained}', {'DATA': data}))
    if pretrained == DEFAULT:                                      # which depends on the packages that are installed here
        tag = {'PRETRAINED': meant(weights, DEFAULT)['TAG']}
        layers[:] = [(source, {**tree, **tag} if tree.get('PRETRAINED') == DEFAULT else tree) for source, tree in layers]


def _follow_image_size(layers):
    """Where a later layer changes the size of the images, TRAIN.MULTI_SCALE of an earlier one is scaled by it."""
    trains = [tree.get('TRAIN') if isinstance(tree.get('TRAIN'), dict) else {} for _, tree in layers]
    last = max([i for i, train in enumerate(trains) if 'MULTI_SCALE' in train], default=None)
    if last is None:
        return
    limits, step = trains[last]['MULTI_SCALE'], _last(layers, 'TRAIN.MULTI_SCALE_STEP') or DEFAULTS.TRAIN.MULTI_SCALE_STEP
    meant, wanted = _training_size(layers[:last + 1]), _training_size(layers)
    numbers = [meant, wanted, step, *limits] if isinstance(limits, list) else ['']
    if limits and meant != wanted and all(type(number) is int for number in numbers):     # wrong types are reported later
        scaled = {'MULTI_SCALE': [round(side * wanted / meant) for side in limits],
                  'MULTI_SCALE_STEP': max(1, round(step * wanted / meant))}
        layers.append((f'images of {wanted} pixels', {'TRAIN': scaled}))


def _training_size(layers):
    """Pixels on a side."""
    return _last(layers, 'TRAIN.IMAGE_SIZE') or _last(layers, 'DATA.IMAGE_SIZE') or DEFAULTS.DATA.IMAGE_SIZE


def _read_chain(path, seen=()):
    """[(path, tree)] of a yaml and of all that its BASE names, the most basic first."""
    path = Path(path)
    if path.resolve() in seen:
        raise UserError(f'{path}: its BASE leads back to itself: {" -> ".join(p.name for p in seen)} -> {path.name}')
    try:
        tree = _parsed(path.read_text(encoding='utf-8'))
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise UserError(f'{path} cannot be read as yaml: {" ".join(str(error).split())}') from None
    if tree is None:
        tree = {}
    if not isinstance(tree, dict):
        raise UserError(f'{path} holds a {type(tree).__name__}; wanted groups of keys such as "MODEL:"')
    bases = tree.pop('BASE', None) or []
    bases = [bases] if isinstance(bases, str) else bases
    layers = []
    for base in bases:
        if not base:
            continue
        if not isinstance(base, str):
            raise UserError(f'{path}: BASE holds {base!r}; wanted names of yaml files or of models')
        layers += _read_chain(find_config(base, beside=path.parent), (*seen, path.resolve()))
    return layers + [(str(path), tree)]


def nested(flat):
    """{'A.B': 1} -> {'A': {'B': 1}}"""
    tree = {}
    for key, value in flat.items():
        *groups, last = key.split('.')
        node = tree
        for group in groups:
            node = node.setdefault(group, {})
        node[last] = value
    return tree


def changed(cfg, values):
    """A frozen copy of a configuration with other values, {'A.B': 1}, which are of the keys' types."""
    cfg = cfg.clone()
    cfg.defrost()
    for key, value in values.items():
        *groups, last = key.split('.')
        functools.reduce(getattr, groups, cfg)[last] = value
    cfg.freeze()
    return cfg


def keys_of(overrides):
    """The dotted keys that `overrides` of `get_config` set, as they are called today."""
    tree, _ = modernized(nested(overrides))
    return list(_leaves(tree, ''))


def _leaves(tree, prefix):
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from _leaves(value, f'{prefix}{key}.')
        else:
            yield f'{prefix}{key}'


def keys_below(node, prefix=''):
    """The dotted names of all keys below a node of a configuration, groups included."""
    names = []
    for key, value in node.items():
        names.append(prefix + key)
        if isinstance(value, CN):
            names += keys_below(value, f'{prefix}{key}.')
    return names


def _merge(node, tree, source, prefix, cfg):
    """Write `tree` into `node`, a group of `cfg`, key by key, checked."""
    for key, value in tree.items():
        name = f'{prefix}{key}'
        if key not in node:
            raise UserError(f'{source}: unknown key {name}. {_nearest(name, keys_below(cfg))}')
        if not isinstance(node[key], CN):
            node[key] = _coerced(value, node[key], name, source)
        elif isinstance(value, dict):
            _merge(node[key], value, source, f'{name}.', cfg)
        elif value is not None:                                    # an empty group in a yaml is None
            raise UserError(f'{source}: {name} is {value!r}; wanted a group of keys: {", ".join(node[key])}')


def _nearest(name, known):
    """The known key whose last part, else whose whole name, is closest to `name`."""
    last = name.rsplit('.', 1)[-1]
    by_last = difflib.get_close_matches(last, [key.rsplit('.', 1)[-1] for key in known], n=1, cutoff=0.75)
    close = [key for key in known if by_last and key.rsplit('.', 1)[-1] == by_last[0]] or list(known)
    best = max(close, key=lambda key: difflib.SequenceMatcher(None, name, key).ratio())
    return f'The nearest known key is {best}.'


def _coerced(value, default, name, source):
    """`value` as the type of `default`. None keeps the default: PaddleViT's yamls write null for "not set"."""
    if value is None:
        return default
    if isinstance(default, (list, tuple)):
        if not isinstance(value, (list, tuple)):
            raise _wrong_type(value, 'a list', name, source)
        return [_coerced(item, default[0], f'{name}[{i}]', source) if default else item for i, item in enumerate(value)]
    if isinstance(default, bool) or isinstance(value, bool):
        if isinstance(default, bool) and isinstance(value, bool):
            return value
    elif isinstance(default, float) and isinstance(value, (int, float, str)):
        try:
            return float(value)                                    # yaml reads 1e-3 as a string
        except ValueError:
            pass
    elif isinstance(value, type(default)):
        return value
    raise _wrong_type(value, {bool: 'true or false', int: 'a whole number', float: 'a number', str: 'a text'}[type(default)],
                      name, source)


def _wrong_type(value, wanted, name, source):
    return UserError(f'{source}: {name} is {value!r} ({type(value).__name__}); wanted {wanted}')


def differences(old, new, prefix=''):
    """[(dotted key, value in `old`, value in `new`)] of two configurations of the same keys, where they differ."""
    found = []
    for key, value in new.items():
        if isinstance(value, CN) and isinstance(old.get(key), CN):
            found += differences(old[key], value, f'{prefix}{key}.')
        elif old.get(key) != value:
            found.append((f'{prefix}{key}', old.get(key), value))
    return found
