"""The command line of both trainers: PaddleViT's flags, and -opts for any key."""
import argparse

from image_classification.config.bounds import shortened, within
from image_classification.config.loading import differences, find_config, get_config, keys_of, model_yamls
from image_classification.config.options import PAIRS, Parser
from image_classification.config.reading import NoYaml, parsed
from image_classification.config.spellings import in_capitals
from image_classification.errors import UserError
from image_classification.installation import CONFIGS, readable

_NGPUS, _RESTARTS = within(-1, 256), within(0, 1000)


def _words(text):
    return [word.strip() for word in text.split(',')]


_FLAGS = {  # flag: (key, type, help)
    'dataset': ('DATA.DATASET', str, 'imagenet2012, folder, mnist5k, mnist, fashion_mnist, cifar10 or cifar100; '
                'by default detected in -data_path: a folder of classes, or lists of files'),
    'data_path': ('DATA.DATA_PATH', str, 'directory of the data set'),
    'batch_size': ('DATA.BATCH_SIZE', int, 'images per process in each batch'),
    'batch_size_eval': ('DATA.BATCH_SIZE_EVAL', int, 'the same in evaluation'),
    'threads': ('THREADS', int, 'threads of each process on a CPU; by default the fastest number'),
    'image_size': ('DATA.IMAGE_SIZE', int, 'side of the square input, in pixels'),
    'num_workers': ('DATA.NUM_WORKERS', int, 'processes that load images; 0: none'),
    'num_classes': ('MODEL.NUM_CLASSES', int, 'number of classes; by default as many as the folder has'),
    'pretrained': ('PRETRAINED', str, 'weights to start from or to evaluate: a tag or default, an address, a file'),
    'resume': ('RESUME', str, "a checkpoint or a run's directory to continue, or 'auto': the newest run below -output"),
    'output': ('SAVE', str, 'directory that gets one directory per run'),
    'epochs': ('TRAIN.NUM_EPOCHS', int, 'number of epochs'),
    'accum_iter': ('TRAIN.ACCUM_ITER', int, 'batches per optimizer step'),
    'save_freq': ('SAVE_FREQ', int, 'epochs between checkpoints'),
    'log_freq': ('REPORT_FREQ', int, 'steps between log lines'),
    'validate_freq': ('VALIDATE_FREQ', int, 'epochs between evaluations'),
    'seed': ('SEED', int, 'random seed'),
    'freeze': ('TRAIN.FREEZE', _words, 'layers that keep their weights, separated by commas; backbone: all but the classifier'),
    'head_lr_scale': ('TRAIN.HEAD_LR_SCALE', float, "multiplies the classifier's learning rate"),
    'early_stop': ('TRAIN.EARLY_STOP', int, 'stop after this many evaluations without a better top-1; 0: never'),
    'visual': ('VISUAL', str, 'also write curves for visualdl or tensorboard'),
}


_SWITCHES = (('eval', 'EVAL'), ('per_class', 'PER_CLASS'), ('amp', 'AMP'), ('download', 'DATA.DOWNLOAD'))


def argument_parser(description):
    """The parser for the command line of both trainers."""
    parser = Parser(description=description, allow_abbrev=False)
    parser.add_argument('-cfg', type=str,
                        help='path of a yaml file, relative to the working directory or to configs/, e.g. '
                        'mobileformer_26m.yaml for the published recipe; or the name of a model, e.g. mobileformer_26m, for '
                        'the default recipe or that for folders. Not needed for -eval of a checkpoint')
    for flag, (key, kind, text) in _FLAGS.items():
        parser.add_argument(f'-{flag}', type=kind, help=f'{text} ({key})')
    parser.add_argument('-eval', action='store_true', help='evaluate only (EVAL)')
    parser.add_argument('-per_class', action='store_true',
                        help='write a table of accuracy per class after evaluation or training (PER_CLASS)')
    parser.add_argument('-amp', action='store_true', help='mixed precision on GPU (AMP)')
    parser.add_argument('-download', action='store_true', help='download a missing data set (DATA.DOWNLOAD)')
    parser.add_argument('-ngpus', type=int, default=-1, bounds=_NGPUS,
                        help='number of GPUs or, without a GPU, of CPU processes; -1: every GPU, or the fastest number of CPU '
                        'processes, which then share -batch_size')
    parser.add_argument('-max_restarts', type=int, default=0, bounds=_RESTARTS,
                        help='how often to restart from the last checkpoint after a process has died, hung or crashed')
    parser.add_argument(PAIRS, nargs=argparse.REMAINDER, default=[], metavar='KEY VALUE',
                        help='any key, e.g. -opts TRAIN.BASE_LR 1e-3')
    return parser


def config_from_args(args, found=None, recipe=None, places=None):
    """The frozen configuration for parsed arguments: -cfg, overridden by `recipe`, then by the flags, then by -opts.

    Args:
        found: {dotted key: value} derived from the data set or a checkpoint; flags override it.
        recipe: see `get_config`.
        places: {dotted key: where its value in `found` comes from}, for error messages.
    """
    if not args.cfg:
        raise UserError(f'-cfg is {"missing" if args.cfg is None else "empty"}; wanted a yaml file or the name of a model. '
                        'Only -eval of a checkpoint (-pretrained output/RUN/best.safetensors) goes without')
    return get_config(args.cfg, {**(found or {}), **overrides_of(args)}, recipe, {**(places or {}), **places_of(args)})


def overrides_of(args):
    """{dotted key: value} of flags and -opts."""
    return {key: value for key, (value, _) in _given(args).items()}


def places_of(args):
    """{dotted key: the flag that sets it, or -opts}"""
    return {key: place for key, (_, place) in _given(args).items()}


def _given(args):
    given = {key: (getattr(args, flag), f'-{flag}') for flag, (key, _, _) in _FLAGS.items() if getattr(args, flag) is not None}
    given.update({key: (True, f'-{flag}') for flag, key in _SWITCHES if getattr(args, flag)})
    return {**given, **{key: (value, PAIRS) for key, value in parse_opts(args.opts).items()}}


def opening_lines(args, recipe=None):
    """The first lines of a training's log: the file for -cfg, and the changes by flags and -opts."""
    path = find_config(args.cfg).resolve()
    lines = [f'configuration  {readable(path)}']
    if path in model_yamls().values():
        own = f'the recipe for folders, {readable(recipe)}' if recipe else 'the library\'s default recipe'
        lines[0] += f', the network with {own}'
        published = CONFIGS / path.name
        if published.is_file():
            lines[0] += f'; its published recipe is {readable(published)}'
    overrides = overrides_of(args)
    given = {key.upper() for key in keys_of(overrides)}
    plain, cfg = get_config(args.cfg, recipe=recipe), get_config(args.cfg, overrides, recipe, places_of(args))
    changes = [f'{key} {new}' for key, _, new in differences(plain, cfg) if key.upper() in given]
    if changes:
        lines.append(f'flags and -opts: {", ".join(changes)}')
    return lines


def parse_opts(words):
    """['TRAIN.BASE_LR', '1e-3', ...] -> {'TRAIN.BASE_LR': '1e-3', ...}. Values are read as yaml; groups become single keys."""
    if len(words) % 2:
        raise UserError(f'{PAIRS} takes pairs of KEY VALUE; found {len(words)} words: {" ".join(words)}')
    values = {}
    for key, word in zip(words[::2], words[1::2]):
        try:
            value = parsed(word, f'{PAIRS} {shortened(key)}', any_case=True)
        except NoYaml:
            value = word
        values.update(_leaves(in_capitals(key), value))
    return values


def _leaves(name, value):
    """Yield (dotted key, value) for each key that is not a group, and for empty groups."""
    if not isinstance(value, dict) or not value:
        yield name, value
        return
    for key, below in value.items():
        yield from _leaves(in_capitals(f'{name}.{key}'), below)
