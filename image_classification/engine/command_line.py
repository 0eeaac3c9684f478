"""Build the configuration of a command line from its files and flags, the data set and the checkpoint."""
from pathlib import Path

from image_classification.checkpoint import checkpoint_at
from image_classification.config import (CONFIGS, DEFAULTS, config_from_args, config_from_text, differences, find_config,
                                         get_config, keys_of, keys_set, model_yamls, opening_lines, overrides_of, places_of)
from image_classification.datasets.labelled import all_classes
from image_classification.engine.run_directory import find_checkpoint
from image_classification.weights.catalogue import PREPROCESSING

FINETUNE, SCRATCH = (CONFIGS / '_base_' / f'folder_{name}.yaml' for name in ('finetune', 'scratch'))
_OF_A_RUN = ('RESUME', 'PRETRAINED', 'SAVE', 'VISUAL', 'PER_CLASS')   # keys not taken over from a checkpoint


def configuration(args):
    """(frozen configuration, first lines of the log) for parsed arguments.

    If neither flags nor files say it, the data set is detected as a folder of classes, and its number of classes is counted.
    A network that is given by its name is then trained with a recipe for folders. In an evaluation, preprocessing and classes
    come from the checkpoint, whatever the files say; without -cfg, the whole configuration does.
    """
    given = overrides_of(args)
    weights = str(given.get('PRETRAINED') or given.get('RESUME') or '')
    checkpoint = checkpoint_at(weights) if args.eval and not args.cfg else None
    if checkpoint:
        return _of_checkpoint(checkpoint, given, places_of(args)), [f'configuration  that of {checkpoint.path}']
    if not args.cfg:
        return config_from_args(args), []                          # raises an error that says what is missing
    plain, own = config_from_args(args), keys_of(given)
    trained = _of_evaluated(plain)
    found = {**_found_in_folder(plain, {*keys_set(args.cfg), *own, *trained}, 'DATA.DATASET' in own), **trained}
    dataset = found.get('DATA.DATASET', plain.DATA.DATASET)
    recipe = None
    if dataset == 'folder' and not plain.EVAL and find_config(args.cfg) in model_yamls().values():
        recipe = FINETUNE if plain.PRETRAINED else SCRATCH
        recipe = recipe if recipe.is_file() else None              # an installed package has no configs/
    source = plain.RESUME or plain.PRETRAINED
    places = {**{key: f'the pictures in {plain.DATA.DATA_PATH}' for key in found},
              **{key: f'the checkpoint {source}' for key in trained}}
    cfg = config_from_args(args, found, recipe, places)
    in_folder = {key: value for key, value in found.items() if key not in trained}
    brought = {*trained, *(f'DATA.{key}' for key in PREPROCESSING)} - {*own, *in_folder}
    changes = differences(get_config(args.cfg, recipe=recipe), cfg) if source else ()
    of_weights = {key: value for key, _, value in changes if key in brought}
    notes = ((f'found in {plain.DATA.DATA_PATH}', in_folder), (f'with {source} come', of_weights))
    lines = [f'{where}: {", ".join(f"{key} {value}" for key, value in found.items())}' for where, found in notes if found]
    return cfg, [*opening_lines(args, recipe), *lines]


def _of_evaluated(cfg):
    """{dotted key: value} of preprocessing and classes of the checkpoint to evaluate; {} without one.

    These belong to the weights, so they override the files of -cfg. Only flags override them.
    """
    checkpoint = (find_checkpoint(cfg) if cfg.RESUME else checkpoint_at(cfg.PRETRAINED)) if cfg.EVAL else None
    if not checkpoint:
        return {}
    data, model = checkpoint.cfg.DATA, checkpoint.cfg.MODEL
    return {**{f'DATA.{key}': data[key] for key in sorted(PREPROCESSING)}, 'MODEL.NUM_CLASSES': model.NUM_CLASSES,
            'MODEL.IN_CHANNELS': model.IN_CHANNELS}


def _found_in_folder(cfg, known, is_given):
    """{dotted key: value} derived from the folder DATA_PATH, for keys that are not set otherwise.

    Args:
        cfg: configuration of files and command line.
        known: dotted keys that these set.
        is_given: whether the command line names the data set.
    """
    root, dataset = Path(cfg.DATA.DATA_PATH), cfg.DATA.DATASET
    lists = dataset == 'imagenet2012' and (is_given or any(root.glob('*_list.txt')))
    if not cfg.DATA.DATA_PATH or lists or dataset not in ('imagenet2012', 'folder'):
        return {}
    classes = all_classes(root)
    found = {'DATA.DATASET': 'folder'} if classes and dataset != 'folder' else {}
    if classes and 'MODEL.NUM_CLASSES' not in known:
        found['MODEL.NUM_CLASSES'] = len(classes)
    return found


def _of_checkpoint(checkpoint, given, places):
    """The configuration of a checkpoint for an evaluation, overridden by the command line (`given`, `places`)."""
    found = {}
    if 'DATA.DATA_PATH' in given and 'DATA.DATASET' not in given and all_classes(str(given['DATA.DATA_PATH'])):
        found['DATA.DATASET'] = 'folder'
    fresh = {key: DEFAULTS[key] for key in _OF_A_RUN}
    return config_from_text(checkpoint.cfg.dump(), str(checkpoint.path), {**fresh, **found, **given}, places)
