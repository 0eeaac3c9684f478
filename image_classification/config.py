"""Every shared configuration key, and how a configuration comes about.

Defaults, the family's defaults, BASE files, the yaml, the command line: later ones win.

Groups and names of keys are PaddleViT's. Keys that belong to one family are in that family's `config.py`, below MODEL.
"""
import argparse
import difflib
import importlib
import os
import warnings
from pathlib import Path

import yaml
from yacs.config import CfgNode as CN

from image_classification.errors import UserError
from image_classification.weights.pretrained import protocol

PACKAGE = Path(__file__).resolve().parent
CONFIGS = PACKAGE.parent / 'configs'

_C = CN()
_C.BASE = ['']                            # files or model names that are merged first, in this order

_C.DATA = CN()
_C.DATA.DATASET = 'imagenet2012'          # imagenet2012, folder, mnist5k, mnist, fashion_mnist, cifar10 or cifar100
_C.DATA.DATA_PATH = ''                    # where the data set's files are; mnist5k needs none
_C.DATA.DOWNLOAD = False                  # fetch mnist, fashion_mnist, cifar10 or cifar100 when DATA_PATH lacks them
_C.DATA.BATCH_SIZE = 256                  # images per process and step of the loader
_C.DATA.BATCH_SIZE_EVAL = 0               # the same in evaluation; 0: as BATCH_SIZE
_C.DATA.IMAGE_SIZE = 224                  # side of the network's square input, in pixels
_C.DATA.CROP_PCT = 0.875                  # evaluation resizes the short side to IMAGE_SIZE / CROP_PCT, then crops the centre
_C.DATA.INTERPOLATION = 'bilinear'        # nearest, bilinear, bicubic, lanczos, box or hamming
_C.DATA.IMAGENET_MEAN = [0.485, 0.456, 0.406]  # subtracted from RGB in 0..1
_C.DATA.IMAGENET_STD = [0.229, 0.224, 0.225]   # then divided by this
_C.DATA.COLOR_ORDER = 'RGB'               # in which the network takes colours, after normalizing: RGB, or BGR as OpenCV reads
_C.DATA.NUM_WORKERS = 2                   # processes that load images; 0 loads in the training process
_C.DATA.FAST_DECODE = True                # training decodes JPEG at 1/2, 1/4 or 1/8 where its crop keeps the size it needs
_C.DATA.BACKEND = 'pillow'                # opencv, an extra, decodes and resizes JPEG for training faster, by other filters
_C.DATA.MAX_BAD_IMAGES = 50               # unreadable training images that are skipped before training stops

_C.MODEL = CN()
_C.MODEL.TYPE = 'MobileFormer'            # the family's directory, compared in lower case
_C.MODEL.NAME = 'mobileformer_26m'        # the variant, as logs and exports call it
_C.MODEL.RESUME = ''                      # a checkpoint or a run's directory to continue, or 'auto': the newest run below SAVE
_C.MODEL.PRETRAINED = ''                  # weights to start from: a tag of WEIGHTS, 'default' for its first, an address, a file
_C.MODEL.NUM_CLASSES = 1000
_C.MODEL.IN_CHANNELS = 3                  # 3: RGB, 1: grey, 4: RGBA
_C.MODEL.DROPOUT = 0.0                    # in front of the classifier, and where else the family says
_C.MODEL.DROPPATH = 0.0                   # probability that a sample skips a residual branch
_C.MODEL.GRAD_CHECKPOINTING = False       # train with less memory and a third more time: blocks run again in the backward pass
_C.MODEL.PUBLISHED = CN()                 # what the network's authors or porters report, for the table of networks
_C.MODEL.PUBLISHED.TOP1 = 0.0             # ImageNet top-1 in percent; 0: none
_C.MODEL.PUBLISHED.SOURCE = ''            # where

_C.MODEL.WEIGHTS = []                     # published weights, the first is the default: see `pretrained.py`

_C.TRAIN = CN()
_C.TRAIN.NUM_EPOCHS = 300
_C.TRAIN.MAX_STEPS = 0                    # end after so many optimizer steps, for a quick try; 0: no limit
_C.TRAIN.WARMUP_EPOCHS = 5.0              # the rate rises linearly from WARMUP_START_LR to BASE_LR, step by step
_C.TRAIN.WARMUP_START_LR = 1e-6
_C.TRAIN.BASE_LR = 1e-3
_C.TRAIN.LR_SCHEDULE = 'cosine'           # after the warm-up: cosine, step, exponential, poly or constant
_C.TRAIN.END_LR = 1e-5                    # where cosine and poly end, below which step and exponential do not fall
_C.TRAIN.DECAY_EPOCHS = 30.0              # step and exponential: epochs (from the start) per factor DECAY_RATE
_C.TRAIN.DECAY_RATE = 0.1                 # step and exponential: step at once, exponential a little at every step
_C.TRAIN.DECAY_MILESTONES = []            # step: epochs after which the rate falls, instead of every DECAY_EPOCHS
_C.TRAIN.POLY_POWER = 1.0                 # poly: 1 is a straight line
_C.TRAIN.COOLDOWN_EPOCHS = 0.0            # last epochs at END_LR; part of NUM_EPOCHS (timm trains them in addition)
_C.TRAIN.LAYER_DECAY = 1.0                # each block's rate is the next deeper one's times this, the head's is full; 1: off
_C.TRAIN.HEAD_LR_SCALE = 1.0              # the classifier's rate is the others' times this
_C.TRAIN.FREEZE = []                      # layers that keep their weights: [stem, blocks.0]; [backbone]: all but the classifier
_C.TRAIN.FREEZE_EPOCHS = 0                # epochs after which they learn, too; 0: never
_C.TRAIN.LINEAR_SCALED_LR = 0             # the total batch that the three rates are meant for: they scale with it; 0: fixed
_C.TRAIN.WEIGHT_DECAY = 0.05
_C.TRAIN.NO_DECAY_1D = True               # norms, biases and the network's exceptions take no decay; False: all decay
_C.TRAIN.GRAD_CLIP = 0.0                  # the limit of GRAD_CLIP_MODE; 0: no clipping
_C.TRAIN.GRAD_CLIP_MODE = 'norm'          # norm: of all gradients; value: of each number; agc: of each unit, by its weights
_C.TRAIN.EARLY_STOP = 0                   # evaluations in a row without a better top-1 after which the training ends; 0: never
_C.TRAIN.MAX_BAD_STEPS = 20               # steps in a row with a NaN or infinite loss or gradient, skipped, that end the run
_C.TRAIN.ACCUM_ITER = 1                   # batches per optimizer step
_C.TRAIN.OPTIMIZER = CN()
_C.TRAIN.OPTIMIZER.NAME = 'AdamW'         # AdamW, SGD, or RMSprop as TensorFlow's, which MobileNets were trained with
_C.TRAIN.OPTIMIZER.EPS = 1e-8             # AdamW; RMSprop, inside the root (PyTorch's, outside of it, is the root of this)
_C.TRAIN.OPTIMIZER.BETAS = [0.9, 0.999]   # AdamW
_C.TRAIN.OPTIMIZER.ALPHA = 0.9            # RMSprop: share that its average of squares keeps
_C.TRAIN.OPTIMIZER.MOMENTUM = 0.9         # SGD, RMSprop
_C.TRAIN.OPTIMIZER.NESTEROV = False       # SGD
_C.TRAIN.MODEL_EMA = False                # keep a moving average of the weights; it is what is evaluated and exported
_C.TRAIN.MODEL_EMA_DECAY = 0.9999
_C.TRAIN.MODEL_EMA_WARMUP = True          # with a smaller decay at first, (1 + step) / (10 + step); False: the same throughout
_C.TRAIN.SYNC_BN = False                  # batch norm over the images of all processes; GPU only, the log says so on a CPU
_C.TRAIN.LOSS = 'ce'                      # ce: cross entropy; bce: binary cross entropy of each class
_C.TRAIN.BCE_SUM = False                  # bce: sum over the classes instead of the mean
_C.TRAIN.SMOOTHING = 0.1                  # label smoothing
_C.TRAIN.AUX_LOSS_WEIGHT = 0.3            # of the loss of each auxiliary head, where a network has some
_C.TRAIN.DISTILL = CN()
_C.TRAIN.DISTILL.KIND = 'none'            # soft: learn the teacher's probabilities; hard: the class it finds; none
_C.TRAIN.DISTILL.TEACHER = ''             # a model's name, with its weights below; a checkpoint of ours; an export's directory
_C.TRAIN.DISTILL.WEIGHTS = ''             # of a teacher by name: a tag of its WEIGHTS, 'default', an address, a file
_C.TRAIN.DISTILL.ALPHA = 0.5              # share of the teacher's loss; the labels' has the rest
_C.TRAIN.DISTILL.TAU = 1.0                # soft: temperature
_C.TRAIN.IMAGE_SIZE = 0                   # side in training, in pixels; 0: as DATA.IMAGE_SIZE, that of the evaluation
_C.TRAIN.MULTI_SCALE = []                 # [least, most] pixels: each batch draws its side; its size keeps the memory constant
_C.TRAIN.MULTI_SCALE_STEP = 32            # sides are least, least + step, ..., up to most
_C.TRAIN.REPEATED_AUG = 0                 # copies of an image per epoch, each transformed anew; steps stay, so fewer images
_C.TRAIN.CROP_SCALE = [0.08, 1.0]         # share of the image's area that a random crop keeps
_C.TRAIN.CROP_RATIO = [0.75, 1.3333333333]  # width / height of a random crop
_C.TRAIN.HFLIP = 0.5                      # probability of mirroring; 0 for digits and text
_C.TRAIN.COLOR_JITTER = 0.4               # brightness, contrast, saturation; only where AUTO_AUGMENT and RAND_AUGMENT are off
_C.TRAIN.AUTO_AUGMENT = ''                # original (the paper's for ImageNet), v0 (EfficientNet's) or trivial (TrivialAugment)
_C.TRAIN.RAND_AUGMENT = False
_C.TRAIN.RAND_AUGMENT_INCREASING = False  # every operation gets stronger with the magnitude: "inc1" in the names of timm
_C.TRAIN.RAND_AUGMENT_LAYERS = 2          # operations per image
_C.TRAIN.RAND_AUGMENT_MAGNITUDE = 9.0     # 0 to 10
_C.TRAIN.RAND_AUGMENT_MSTD = 0.5          # standard deviation of the magnitude
_C.TRAIN.RANDOM_ERASE_PROB = 0.0
_C.TRAIN.RANDOM_ERASE_MODE = 'pixel'      # what fills the hole: const (zeros), rand (one colour) or pixel (noise)
_C.TRAIN.RANDOM_ERASE_COUNT = 1           # holes per image, at most
_C.TRAIN.MIXUP_MODE = 'batch'             # one share and box per batch, per pair of images, or per image: elem
_C.TRAIN.MIXUP_ALPHA = 0.0                # 0: no mixup
_C.TRAIN.CUTMIX_ALPHA = 0.0               # 0: no cutmix
_C.TRAIN.CUTMIX_MINMAX = []               # [least, most] share of a side that cutmix pastes, instead of CUTMIX_ALPHA
_C.TRAIN.MIXUP_PROB = 1.0                 # probability that a batch is mixed at all
_C.TRAIN.MIXUP_SWITCH_PROB = 0.5          # probability of cutmix where both are on

_C.AMP = False                            # mixed precision; GPU only
_C.AMP_DTYPE = 'float16'                  # float16 or bfloat16
_C.SAVE = './output'                      # every run makes a directory of its own in here
_C.SAVE_FREQ = 1                          # epochs between checkpoints
_C.SAVE_STEPS = 0                         # steps between further checkpoints within an epoch; 0: none
_C.KEEP_CHECKPOINTS = 2                   # last.safetensors, last-1.safetensors (the one before), ...
_C.KEEP_BEST = 1                          # best.safetensors, best-2.safetensors (the second best evaluation), ...
_C.WATCHDOG_SECONDS = 300.0               # without progress, in any process, after which all end with the reason; 0: never
_C.REPORT_FREQ = 20                       # steps between lines in the log
_C.VALIDATE_FREQ = 1                      # epochs between evaluations
_C.VISUAL = ''                            # visualdl or tensorboard: curves for it in the run's directory, too
_C.SEED = 0
_C.EVAL = False                           # evaluate only
_C.PER_CLASS = False                      # after an evaluation or a training: accuracy per class, and what it is taken for
_C.EXPORT = True                          # after training, export the best checkpoint with paddle.jit and verify it
_C.OVERRIDES = []                         # what flags and -opts have changed, for the log; the command line writes it

# Spellings of the seed and of PaddleViT that mean a key of ours: in its group, or of the whole MODEL.
_OLD_SPELLINGS = {'STRIED': 'STRIDE', 'STRIEDS': 'STRIDES'}
_MOVED_TO_MODEL = {'MODEL.MF.IN_CHANNELS': 'IN_CHANNELS'}
# PaddleViT keys that have no counterpart because the library does the right thing without them.
_RETIRED = {'TAG', 'THROUGHPUT_MODE', 'TRAIN.LAST_EPOCH', 'TRAIN.MODEL_EMA_FORCE_CPU', 'DATA.IMAGE_CHANNELS',
            'TRAIN.RANDOM_ERASE_SPLIT'}


def family_defaults(model_type):
    """The MODEL keys of a family, from `image_classification/<type>/config.py`."""
    name = str(model_type).lower()
    if not (PACKAGE / name / 'config.py').is_file():
        raise UserError(f'MODEL.TYPE is {model_type!r}, which is no family of this library. '
                        f'Wanted one of: {", ".join(families())}.')
    return importlib.import_module(f'image_classification.{name}.config').DEFAULTS


def families():
    """Names of the family directories, sorted."""
    return sorted(path.parent.name for path in PACKAGE.glob('*/model.py'))


def model_yamls():
    """{model name: path of its yaml}: the yaml files in the family directories are the list of models."""
    return {path.stem: path for path in sorted(PACKAGE.glob('*/*.yaml'))}


def find_config(name, beside=None):
    """The file that `name` means: a path (from `beside` or the working directory), a path below configs/, or a model."""
    name = os.fspath(name)
    places = [Path(beside) / name] if beside else []
    below_configs = name[len('configs/'):] if name.startswith('configs/') else name
    places += [Path(name), CONFIGS / below_configs]
    for path in places:
        if path.is_file():
            return path
    models = model_yamls()
    stem = name[:-len('.yaml')] if name.endswith('.yaml') else name
    if stem in models:
        return models[stem]
    close = difflib.get_close_matches(Path(stem).name, models, n=3)
    hint = f' Did you mean {" or ".join(close)}?' if close else ''
    raise UserError(f'no configuration {name!r}: neither a file, nor below {CONFIGS}, nor one of the '
                    f'{len(models)} models.{hint}')


def get_config(name=None, overrides=None):
    """A frozen configuration.

    Args:
        name: a path, a path below configs/, or a model's name; None gives the defaults of MobileFormer.
        overrides: {dotted key: value} on top, checked like a file, e.g. {'MODEL.NUM_CLASSES': 10}.
    Raises:
        UserError: a file that does not exist or is no yaml; an unknown key (named with the nearest known one);
            a value of the wrong type (named with key, file and wanted type).
    """
    layers = _read_chain(find_config(name)) if name else []
    if overrides:
        layers.append(('the command line', _nested(overrides)))
    _insert_protocol(layers)
    return _merged(_last(layers, 'TYPE') or _C.MODEL.TYPE, layers)


def _last(layers, key):
    """The last value of a key of MODEL that is set in [(source, tree)]; None where none is."""
    values = [tree['MODEL'].get(key) for _, tree in layers if isinstance(tree.get('MODEL'), dict)]
    return next((value for value in reversed(values) if value), None)


def _insert_protocol(layers):
    """Behind the model's own yaml, the DATA keys that come with the weights of MODEL.PRETRAINED; later files overrule them."""
    pretrained, weights = _last(layers, 'PRETRAINED'), _last(layers, 'WEIGHTS')
    if not isinstance(pretrained, str) or not isinstance(weights or [], list):
        return                                                     # a wrong type is reported when the layers are merged
    data = protocol(weights or [], pretrained, _last(layers, 'NAME') or _C.MODEL.NAME)
    if data:
        own = {str(path) for path in model_yamls().values()}
        place = max([i for i, (source, _) in enumerate(layers) if source in own], default=-1)
        layers.insert(place + 1, (f'the weights {pretrained}', {'DATA': data}))


def config_from_text(text, source):
    """A frozen configuration from `cfg.dump()`'s text, e.g. the one stored in a checkpoint (`source` names it in errors)."""
    tree = yaml.safe_load(text)
    return _merged(tree['MODEL']['TYPE'], [(source, tree)])


def _merged(model_type, layers):
    """The defaults with all layers [(source, tree)] written over them, frozen."""
    cfg = _C.clone()
    cfg.MODEL.update(family_defaults(model_type).clone())
    for source, tree in layers:
        old = []
        _merge(cfg, tree, source, '', cfg, old)
        if old:
            warnings.warn(f'{source} has old spellings, read as: {"; ".join(old)}', stacklevel=3)
    cfg.freeze()
    return cfg


def _read_chain(path, seen=()):
    """[(path, tree)] of a yaml and of all that its BASE names, the most basic first."""
    path = Path(path)
    if path.resolve() in seen:
        raise UserError(f'{path}: its BASE leads back to itself: {" -> ".join(p.name for p in seen)} -> {path.name}')
    try:
        tree = yaml.safe_load(path.read_text(encoding='utf-8'))
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


def _nested(flat):
    """{'A.B': 1} -> {'A': {'B': 1}}"""
    tree = {}
    for key, value in flat.items():
        *groups, last = key.split('.')
        node = tree
        for group in groups:
            node = node.setdefault(group, {})
        node[last] = value
    return tree


def _dotted(node, prefix=''):
    """All dotted names below a node, groups included."""
    names = []
    for key, value in node.items():
        names.append(prefix + key)
        if isinstance(value, CN):
            names += _dotted(value, f'{prefix}{key}.')
    return names


def _merge(node, tree, source, prefix, cfg, old):
    """Write `tree` into `node`, a group of `cfg`, key by key, checked. Old spellings that were met are appended to `old`."""
    for key, value in tree.items():
        name = f'{prefix}{key}'
        if name in _RETIRED:
            old.append(f'{name} (has no effect)')
            continue
        if name in _MOVED_TO_MODEL:
            old.append(f'{name} -> MODEL.{_MOVED_TO_MODEL[name]}')
            _merge(cfg.MODEL, {_MOVED_TO_MODEL[name]: value}, source, 'MODEL.', cfg, old)
            continue
        if key not in node and _OLD_SPELLINGS.get(key) in node:
            key = _OLD_SPELLINGS[key]
            old.append(f'{name} -> {prefix}{key}')
            name = f'{prefix}{key}'
        if key not in node:
            raise UserError(f'{source}: unknown key {name}. {_nearest(name, _dotted(cfg))}')
        if not isinstance(node[key], CN):
            node[key] = _coerced(value, node[key], name, source)
        elif isinstance(value, dict):
            _merge(node[key], value, source, f'{name}.', cfg, old)
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


def _words(text):
    return [word.strip() for word in text.split(',')]


_FLAGS = {  # flag: (key, type, help)
    'dataset': ('DATA.DATASET', str, 'imagenet2012, folder, mnist5k, mnist, fashion_mnist, cifar10 or cifar100'),
    'data_path': ('DATA.DATA_PATH', str, 'directory of the data set'),
    'batch_size': ('DATA.BATCH_SIZE', int, 'images per process and step'),
    'batch_size_eval': ('DATA.BATCH_SIZE_EVAL', int, 'the same in evaluation'),
    'image_size': ('DATA.IMAGE_SIZE', int, 'side of the square input, in pixels'),
    'num_workers': ('DATA.NUM_WORKERS', int, 'processes that load images; 0: none'),
    'num_classes': ('MODEL.NUM_CLASSES', int, 'number of classes'),
    'pretrained': ('MODEL.PRETRAINED', str, 'weights to start from or to evaluate: a tag or default, an address, a file'),
    'resume': ('MODEL.RESUME', str, "a checkpoint or a run's directory to continue, or 'auto': the newest run below -output"),
    'output': ('SAVE', str, 'directory that gets one directory per run'),
    'epochs': ('TRAIN.NUM_EPOCHS', int, 'number of epochs'),
    'accum_iter': ('TRAIN.ACCUM_ITER', int, 'batches per optimizer step'),
    'save_freq': ('SAVE_FREQ', int, 'epochs between checkpoints'),
    'log_freq': ('REPORT_FREQ', int, 'steps between lines in the log'),
    'validate_freq': ('VALIDATE_FREQ', int, 'epochs between evaluations'),
    'seed': ('SEED', int, 'random seed'),
    'freeze': ('TRAIN.FREEZE', _words, 'layers that keep their weights, with commas; backbone: all but the classifier'),
    'head_lr_scale': ('TRAIN.HEAD_LR_SCALE', float, "the classifier's learning rate is the others' times this"),
    'early_stop': ('TRAIN.EARLY_STOP', int, 'evaluations without a better top-1 after which training ends; 0: never'),
    'visual': ('VISUAL', str, 'visualdl or tensorboard: write curves for it'),
}


_SWITCHES = (('eval', 'EVAL'), ('per_class', 'PER_CLASS'), ('amp', 'AMP'), ('download', 'DATA.DOWNLOAD'))


def argument_parser(description):
    """The command line of both trainers: PaddleViT's flags, and -opts for every key."""
    parser = argparse.ArgumentParser(description=description, allow_abbrev=False)
    parser.add_argument('-cfg', required=True, help='a yaml, a path below configs/, or the name of a model')
    for flag, (key, kind, text) in _FLAGS.items():
        parser.add_argument(f'-{flag}', type=kind, help=f'{text} ({key})')
    parser.add_argument('-eval', action='store_true', help='evaluate only (EVAL)')
    parser.add_argument('-per_class', action='store_true', help='after evaluation or training: a table per class (PER_CLASS)')
    parser.add_argument('-amp', action='store_true', help='mixed precision on GPU (AMP)')
    parser.add_argument('-download', action='store_true', help='fetch a missing data set (DATA.DOWNLOAD)')
    parser.add_argument('-ngpus', type=int, default=-1,
                        help='GPUs to use, or CPU processes where there is no GPU; -1: every GPU, or one CPU process')
    parser.add_argument('-max_restarts', type=int, default=0,
                        help='times to start again from the last checkpoint after a process has died, hung or crashed')
    parser.add_argument('-opts', nargs=argparse.REMAINDER, default=[], metavar='KEY VALUE',
                        help='any key, e.g. -opts TRAIN.BASE_LR 1e-3')
    return parser


def config_from_args(args):
    """The frozen configuration that parsed arguments ask for: -cfg, then the flags, then -opts."""
    overrides = {key: getattr(args, flag) for flag, (key, _, _) in _FLAGS.items() if getattr(args, flag) is not None}
    overrides.update({key: True for flag, key in _SWITCHES
                      if getattr(args, flag)})
    overrides.update(parse_opts(args.opts))
    cfg = get_config(args.cfg, overrides)
    cfg.defrost()
    cfg.OVERRIDES = [f'{key} {new}' for key, _, new in differences(get_config(args.cfg), cfg)
                     if any(f'{key}.'.startswith(f'{name}.') for name in overrides)]
    cfg.freeze()
    return cfg


def differences(old, new, prefix=''):
    """[(dotted key, value in `old`, value in `new`)] of two configurations of the same keys, where they differ."""
    found = []
    for key, value in new.items():
        if isinstance(value, CN) and isinstance(old.get(key), CN):
            found += differences(old[key], value, f'{prefix}{key}.')
        elif old.get(key) != value:
            found.append((f'{prefix}{key}', old.get(key), value))
    return found


def parse_opts(words):
    """['TRAIN.BASE_LR', '1e-3', ...] -> {'TRAIN.BASE_LR': '1e-3', ...}, values read as yaml."""
    if len(words) % 2:
        raise UserError(f'-opts takes pairs of KEY VALUE; found {len(words)} words: {" ".join(words)}')
    values = {}
    for key, word in zip(words[::2], words[1::2]):
        try:
            values[key] = yaml.safe_load(word)
        except yaml.YAMLError:
            values[key] = word
    return values
