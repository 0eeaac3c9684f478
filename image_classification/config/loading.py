"""Build a configuration from defaults, the family's defaults, BASE files, the yaml and the command line; later ones win."""
import difflib
import functools
import numbers
import os
import re
import runpy
import warnings
from dataclasses import dataclass, field
from pathlib import Path

from yacs.config import CfgNode as CN

from image_classification.config.bounds import brief, check, shortened, taken_apart
from image_classification.config.defaults import BOUNDS, DEFAULTS
from image_classification.config.reading import line_of, parsed
from image_classification.config.spellings import in_capitals, keys_below, modernized, old_places
from image_classification.errors import UserError
from image_classification.installation import CONFIGS, PACKAGE
from image_classification.weights.catalogue import DEFAULT, architecture_of, file_in_library, meant, network_of, preprocessing_of

_MOST_SUGGESTED, _LONGEST_NAME = 24, 100


def family_defaults(model_type):
    """The MODEL keys of a family, read from `image_classification/<type>/config.py` without importing its network."""
    return _family(model_type)[0]


def refused_by(model_type):
    """REFUSED in a family's `config.py`: weights of a different network that are published under this family's name."""
    return _family(model_type)[2]


def bounds_of(model_type):
    """{dotted key: Bounds} of all keys, those of a family included."""
    return {**BOUNDS, **{f'MODEL.{key}': bounds for key, bounds in _family(model_type)[1].items()}}


def _family(model_type):
    name = str(model_type).lower()
    if name not in families():                                     # rules out paths, because config.py is executed
        raise UserError(f'MODEL.TYPE is {brief(model_type)}, which is no family of this library. '
                        f'Wanted one of: {", ".join(families())}.')
    return _defaults_in(str(PACKAGE / name / 'config.py'))


@functools.cache
def _defaults_in(path):
    content = runpy.run_path(path)
    return *taken_apart(content['DEFAULTS']), content.get('REFUSED', ())


def families():
    """Names of the family directories, sorted."""
    return sorted(path.parent.name for path in PACKAGE.glob('*/model.py'))


def model_yamls():
    """{model name: path of its yaml}: the yaml files in the family directories are the list of models."""
    return {path.stem: path for path in sorted(PACKAGE.glob('*/*.yaml'))}


def _yaml_of(model):
    """The path of a model's yaml; None if there is none."""
    if Path(model).name == model:
        return next((path for path in (directory / f'{model}.yaml' for directory in PACKAGE.iterdir())
                     if os.path.isfile(path)), None)               # Path.is_file raises for a name that is too long


def find_config(name, beside=None):
    """The configuration file for `name`.

    A plain word is a model; its yaml is in the directory of its family. A name that ends in .yaml or contains directories is
    a file. It is looked up in `beside`, in the working directory and in configs/; if it is in none, the model's yaml is used.
    """
    if not isinstance(name, (str, os.PathLike)) or not os.fspath(name):
        raise UserError(f"the configuration is {brief(name)}; wanted the name of a model, such as 'xception', or a yaml file")
    name = os.fspath(name)
    stem = name.removesuffix('.yaml')
    models_own = _yaml_of(stem)
    if models_own and stem == name:
        return models_own
    below_configs = name[len('configs/'):] if name.startswith('configs/') else name
    for path in [*([Path(beside) / name] if beside else []), Path(name), CONFIGS / below_configs]:
        if os.path.isfile(path):
            return path
    if models_own and not CONFIGS.is_dir():                        # configs/ might have held a recipe of that name
        raise UserError(f'{brief(name)} is a yaml file below configs/, and {CONFIGS} is missing; install the library again, or '
                        f'write {stem} for the network alone')
    if models_own:
        return models_own
    models = model_yamls()
    close = similar(Path(stem).name, models)
    hint = f' Did you mean {", ".join(close[:-1])}{" or " * bool(close[:-1])}{close[-1]}?' if close else ''
    raise UserError(f'no configuration {brief(name)}: neither a file, nor below {CONFIGS}, nor one of the '
                    f'{len(models)} models.{hint}')


def similar(word, names):
    """Names that start with the word, or else contain it, ignoring case and hyphens; otherwise the three nearest names."""
    letters = _plain(word)
    for fits in (str.startswith, str.__contains__):
        found = [name for name in names if len(letters) > 2 and fits(_plain(name), letters)]
        if 0 < len(found) <= _MOST_SUGGESTED:
            return found
    return difflib.get_close_matches(word.lower()[:_LONGEST_NAME], names, n=3)


def _plain(name):
    return re.sub('[^a-z0-9]', '', name.lower())


@dataclass(frozen=True)
class Source:
    """The origin of a layer of a configuration."""
    name: str
    text: str = ''                         # content of a file, to find the lines of its keys
    places: dict = field(default_factory=dict)  # {dotted key: how the user wrote it, e.g. a flag}, for keys not from a file
    stored: bool = False                   # stored by a training: the values worked once, so today's bounds are not checked

    def at(self, key):
        """The place of a dotted key, for messages: the flag, or the file and line."""
        names = (key, *old_places(key))
        for name in names:
            parts = name.upper().split('.')
            place = next(filter(None, (self.places.get('.'.join(parts[:n])) for n in range(len(parts), 0, -1))), '')
            if place:
                return place
        lines = (line_of(self.text, name, exact=True) for name in names) if self.text else ()
        line = next(filter(None, lines), 0) or self.text and line_of(self.text, key)
        return f'{self.name}, line {line}' if line else self.name


def get_config(name=None, overrides=None, recipe=None, places=None):
    """Get a frozen configuration.

    Args:
        name: a path, a path below configs/, or the name of a model, as in `find_config`. 'mobileformer_26m' is the network
            with the library's default training; 'mobileformer_26m.yaml' is configs/mobileformer_26m.yaml, its published
            recipe. None gives the defaults of MobileFormer.
        overrides: {dotted key: value} to set, checked like a file, e.g. {'MODEL.NUM_CLASSES': 10}.
        recipe: another file, which overrides `name` and is overridden by `overrides`.
        places: {key of `overrides`: how the user wrote it, e.g. '-batch_size'}, for error messages.
    Raises:
        UserError: a file does not exist or is not valid yaml, a key is unknown (the message names the nearest known one), or
            a value has the wrong type or is out of bounds (the message says where it is and what is wanted).
    """
    layers = [layer for file in (name, recipe) if file is not None for layer in _read_chain(find_config(file))]
    layers = _modernized(layers + _layers_of(overrides, places))
    _insert_preprocessing(layers)
    _follow_image_size(layers)
    return _merged(layers)


def config_from_text(text, source, overrides=None, places=None):
    """A frozen configuration from the text of `cfg.dump()`, e.g. the one stored in a checkpoint.

    Args:
        source: name of the text in error messages.
        overrides, places: as in `get_config`.
    """
    stored = Source(source, stored=True), _mapping(parsed(text, source), source)
    layers = _modernized([stored, *_layers_of(overrides, places)])
    _follow_image_size(layers)
    return _merged(layers)


def _layers_of(overrides, places):
    """The overrides as a list of one (Source, tree), or []. An overridden group keeps those of its keys that are not given."""
    if not overrides:
        return []
    source, tree = Source('the overrides', places={key.upper(): place for key, place in (places or {}).items()}), {}
    for key, value in overrides.items():
        if key.upper() == 'BASE':
            raise UserError(f'{source.at(key)}: BASE is for yaml files; give its files one by one')
        _put(tree, in_capitals(key), value, source)
    return [(source, tree)]


def _put(tree, key, value, source):
    """Write the value of a dotted key, or all keys of a group, into a tree."""
    if isinstance(value, dict) and value:
        for name, below in value.items():
            _put(tree, in_capitals(f'{key}.{name}'), below, source)
        return
    *groups, last = key.split('.')
    for i, group in enumerate(groups):
        tree = tree.setdefault(group, {})
        if not isinstance(tree, dict):
            raise UserError(f'{source.at(key)}: {".".join(groups[:i + 1])} is {brief(tree)}; wanted a group of keys')
    if not isinstance(tree.get(last), dict):
        tree[last] = value
    elif value is not None and value != {}:
        raise UserError(f'{source.at(key)}: {key} is {brief(value)}; wanted a group of keys')


def keys_set(name):
    """The dotted keys that are set by the file `name`, as in `get_config`, and by its BASE files."""
    return {key for _, tree in _modernized(_read_chain(find_config(name))) for key in _leaves(tree, '')}


def _modernized(layers):
    """[(Source, tree)] converted to today's keys, with a warning per source that has old spellings."""
    modern = []
    for source, tree in layers:
        tree, notes = modernized(tree)
        modern.append((source, tree))
        if notes:
            warnings.warn(f'{source.name} has old spellings, read as: {"; ".join(notes)}', stacklevel=3)
    return modern


def _merged(layers):
    """The defaults with all layers [(Source, tree)] written over them, frozen."""
    cfg = DEFAULTS.clone()
    family = _last(layers, 'MODEL.TYPE') or DEFAULTS.MODEL.TYPE
    try:
        bounds = bounds_of(family)
    except UserError as error:
        place = next((source.at('MODEL.TYPE') for source, tree in layers[::-1] if _value(tree, 'MODEL.TYPE') == family), '')
        raise UserError(f'{place}: {error}') from None
    cfg.MODEL.update(family_defaults(family).clone())
    for source, tree in layers:
        _merge(cfg, tree, source, '', cfg, bounds)
    cfg.freeze()
    return cfg


def _last(layers, key):
    """The last non-empty value of a dotted key in [(Source, tree)]; None if there is none."""
    return next(filter(None, (_value(tree, key) for _, tree in layers[::-1])), None)


def _value(node, key):
    for part in key.split('.'):
        node = node.get(part) if isinstance(node, dict) else None
    return node


def _insert_preprocessing(layers):
    """Insert a layer with the DATA and MODEL keys of the weights in PRETRAINED, right after the model's own yaml.

    A checkpoint brings all keys that describe its network. Later files override this layer. If PRETRAINED is 'default', it is
    replaced by the tag of the default weights.
    """
    pretrained, weights = _last(layers, 'PRETRAINED'), _last(layers, 'PUBLISHED.WEIGHTS') or []
    if not isinstance(pretrained, str) or not isinstance(weights, list):
        return                                                     # a wrong type is reported when the layers are merged
    family = str(_last(layers, 'MODEL.TYPE') or DEFAULTS.MODEL.TYPE).lower()
    known, refused = (family_defaults(family), refused_by(family)) if family in families() else ((), ())  # else: see _merged
    name = _last(layers, 'MODEL.NAME') or DEFAULTS.MODEL.NAME
    data = preprocessing_of(weights, pretrained, name, refused)
    stored = modernized({'MODEL': architecture_of(file_in_library(weights, pretrained), name)})[0]['MODEL']
    network = {key: value for key, value in {**network_of(weights, pretrained), **stored}.items() if key in known}
    if data or network:
        own = {str(path) for path in model_yamls().values()}
        place = max([i for i, (source, _) in enumerate(layers) if source.name in own], default=-1)
        source = Source(f'the weights {pretrained}', stored=bool(stored))
        layers.insert(place + 1, (source, {'DATA': data, 'MODEL': network}))
    if pretrained == DEFAULT:                                      # its tag depends on the installed packages
        tag = {'PRETRAINED': meant(weights, DEFAULT)['TAG']}
        layers[:] = [(source, {**tree, **tag} if tree.get('PRETRAINED') == DEFAULT else tree) for source, tree in layers]


def _follow_image_size(layers):
    """If a later layer changes the image size, scale the lists of sizes of earlier layers accordingly."""
    wanted = _training_size(layers)
    trains = [tree.get('TRAIN') if isinstance(tree.get('TRAIN'), dict) else {} for _, tree in layers]
    for key in ('MULTI_SCALE', 'PROGRESSIVE_SIZES'):
        last = max([i for i, train in enumerate(trains) if key in train], default=None)
        if last is None:
            continue
        sides, meant = trains[last][key], _training_size(layers[:last + 1])
        step = _last(layers, 'TRAIN.MULTI_SCALE_STEP') or DEFAULTS.TRAIN.MULTI_SCALE_STEP
        numbers = [meant, wanted, step, *sides] if isinstance(sides, list) else ['']
        if sides and meant != wanted and all(type(number) is int for number in numbers):   # wrong types are reported later
            scaled = {key: [round(side * wanted / meant) for side in sides]}
            if key == 'MULTI_SCALE':
                scaled['MULTI_SCALE_STEP'] = max(1, round(step * wanted / meant))
            layers.append((Source(f'images of {wanted} pixels'), {'TRAIN': scaled}))


def _training_size(layers):
    """Side of the training images, in pixels."""
    return _last(layers, 'TRAIN.IMAGE_SIZE') or _last(layers, 'DATA.IMAGE_SIZE') or DEFAULTS.DATA.IMAGE_SIZE


def _read_chain(path, seen=()):
    """[(Source, tree)] of a yaml and of all files named by its BASE, the most basic first."""
    path = Path(path)
    if path.resolve() in seen:
        raise UserError(f'{path}: its BASE leads back to itself: {" -> ".join(p.name for p in seen)} -> {path.name}')
    try:
        text = path.read_text(encoding='utf-8')
    except (UnicodeDecodeError, OSError) as error:
        raise UserError(f'{path} cannot be read as yaml: {" ".join(str(error).split())}') from None
    tree, source = _mapping(parsed(text, path, any_case=True), path), Source(str(path), text)
    bases = next((tree.pop(key) for key in list(tree) if str(key).upper() == 'BASE'), None) or []
    bases = [bases] if isinstance(bases, str) else bases
    if not isinstance(bases, list) or not all(isinstance(base, str) for base in bases):
        raise UserError(f'{source.at("BASE")}: BASE is {brief(bases)}; wanted a list of yaml files or of models')
    layers = []
    for base in filter(None, bases):
        layers += _read_chain(find_config(base, beside=path.parent), (*seen, path.resolve()))
    return layers + [(source, tree)]


def _mapping(tree, source):
    """The parsed content of a yaml as a dict; {} if it is empty. Raises UserError if it is not a mapping."""
    if tree is not None and not isinstance(tree, dict):
        raise UserError(f'{source} holds {brief(tree)}; wanted groups of keys such as "MODEL:"')
    return tree or {}


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


def check_values(cfg, *groups):
    """Raise UserError for values out of bounds, in a configuration that a caller may have edited.

    Args:
        groups: prefixes of the keys to check, e.g. 'MODEL.'; by default all.
    """
    for key, bounds in bounds_of(cfg.MODEL.TYPE).items():
        value = _value(cfg, key)
        if value is not None and key.startswith(groups or ''):
            check(key, value, bounds)


def changed(cfg, values):
    """A frozen copy of a configuration with the values {'A.B': 1, ...}, which must have the types of their keys.

    Raises:
        UserError: a value is out of bounds.
    """
    cfg = cfg.clone()
    cfg.defrost()
    bounds = bounds_of(cfg.MODEL.TYPE)
    for key, value in values.items():
        check(key, value, bounds.get(key))
        *groups, last = key.split('.')
        functools.reduce(getattr, groups, cfg)[last] = value
    cfg.freeze()
    return cfg


def keys_of(overrides):
    """The dotted keys that `overrides` (as in `get_config`) sets, under their current names."""
    return [leaf for _, tree in _modernized(_layers_of(overrides, None)) for leaf in _leaves(tree, '')]


def _leaves(tree, prefix):
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from _leaves(value, f'{prefix}{key}.')
        else:
            yield f'{prefix}{key}'


def _merge(node, tree, source, prefix, cfg, bounds):
    """Write `tree` into `node`, a group of `cfg`, checking each key."""
    for key, value in tree.items():
        if key not in node:                                        # try another case: the family's keys are known only here
            key = next((known for known in node if known.upper() == str(key).upper()), key)
        name = f'{prefix}{key}'
        if key not in node:
            raise UserError(f'{source.at(name)}: unknown key {shortened(name)}. {_nearest(name, keys_below(cfg))}')
        if not isinstance(node[key], CN):
            node[key] = _within(bounds.get(name), _coerced(value, node[key], name, source), name, source)
        elif isinstance(value, dict):
            _merge(node[key], value, source, f'{name}.', cfg, bounds)
        elif value is not None:                                    # an empty group in a yaml is None
            some = list(node[key])
            raise UserError(f'{source.at(name)}: {name} is {brief(value)}; wanted a group of keys: {", ".join(some[:5])}'
                            f'{", ..." * (len(some) > 5)}')


def _within(bounds, value, name, source):
    """The value in the spelling that the code compares with. Raises UserError if it is out of bounds."""
    if not bounds:
        return value
    try:
        if not source.stored:
            check(name, value, bounds)
    except UserError as error:
        raise UserError(f'{source.at(name)}: {error}') from None
    return bounds.spelled(value)


def _nearest(name, known):
    """A hint with the known key closest to `name`, by its last part if that is similar, else by the whole name."""
    name = name.upper()[:_LONGEST_NAME]
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
    elif isinstance(default, float) and isinstance(value, (numbers.Real, str)):
        try:
            return float(value)                                    # yaml reads 1e-3 as a string
        except (ValueError, OverflowError):
            pass
    elif isinstance(default, int) and isinstance(value, numbers.Integral):
        return int(value)                                          # also converts numpy integers
    elif isinstance(value, type(default)) and '\0' not in str(value):
        return value
    raise _wrong_type(value, {bool: 'true or false', int: 'a whole number', float: 'a number', str: 'a text'}[type(default)],
                      name, source)


def _wrong_type(value, wanted, name, source):
    return UserError(f'{source.at(name.split("[")[0])}: {name} is {brief(value)} ({type(value).__name__}); wanted {wanted}')


def differences(old, new, prefix=''):
    """The differing keys of two configurations, as [(dotted key, value in `old`, value in `new`)]."""
    found = []
    for key, value in new.items():
        if isinstance(value, CN) and isinstance(old.get(key), CN):
            found += differences(old[key], value, f'{prefix}{key}.')
        elif old.get(key) != value:
            found.append((f'{prefix}{key}', old.get(key), value))
    return found
