"""Published weights: which there are, where they are, and how a network gets them.

A model's yaml lists them below MODEL.WEIGHTS, the default first:

    - {TAG: imagenet1k_v1, STYLE: torchvision, LICENCE: BSD-3-Clause, TOP1: 67.668, SHA256: 047dcff4, SOURCE: pytorch/vision,
       URL: 'https://download.pytorch.org/models/mobilenet_v3_small-047dcff4.pth', DATA: {CROP_PCT: 0.875}}

`STYLE` says whose key names the file has (`key_styles.py`), `DATA` how its publisher prepares images for the accuracy `TOP1`:
it becomes the configuration's DATA, and so the preprocessing of training, checkpoints, exports and predictions.
"""
import fnmatch
import json
from pathlib import Path

import safetensors

from image_classification.download import fetch
from image_classification.errors import UserError
from image_classification.weights.key_styles import adapt_first_convolution
from image_classification.weights import load_state, read_for

REQUIRED = {'TAG', 'URL', 'STYLE', 'LICENCE', 'SOURCE'}
OPTIONAL = {'TOP1', 'SHA256', 'WRAPPER', 'MANUAL', 'NUM_CLASSES', 'DATA'}   # MANUAL: URL is a page for people
PROTOCOL = {'IMAGE_SIZE', 'CROP_PCT', 'INTERPOLATION', 'IMAGENET_MEAN', 'IMAGENET_STD', 'COLOR_ORDER'}
DEFAULT = 'default'                                                # stands for the first tag, as True does


def list_pretrained(pattern='*'):
    """Sorted [(model, tag)] of all published weights of the models that fit a shell pattern, e.g. '*former*'."""
    from image_classification.config import get_config, model_yamls
    return [(name, entry['TAG']) for name in sorted(fnmatch.filter(model_yamls(), pattern))
            for entry in get_config(name).MODEL.WEIGHTS]


def is_address(text):
    return text.startswith(('http://', 'https://'))


def find_entry(entries, pretrained, name):
    """The entry of MODEL.WEIGHTS that `pretrained` means, a tag or 'default'; None for an address or a file.

    Raises:
        UserError: neither of these; an entry that lacks something, or has an unknown key.
    """
    for entry in entries:
        _check_entry(entry, name)
    tags = [entry['TAG'] for entry in entries]
    if pretrained in tags:
        return entries[tags.index(pretrained)]
    if pretrained == DEFAULT:
        if entries:
            return entries[0]
        raise UserError(f'nobody publishes weights for {name}; give a file, or see image_classification.list_pretrained()')
    if is_address(pretrained) or Path(pretrained).exists() or Path(pretrained).suffix:
        return None
    raise UserError(f'{name} has no weights {pretrained!r}; wanted {", ".join([*tags, "a file", "an address"])}')


def protocol(entries, pretrained, name):
    """The DATA keys that come with weights: of a tag, or of a file that tools/convert_weights.py made."""
    entry = find_entry(entries, pretrained, name)
    if entry is not None:
        return entry.get('DATA') or {}
    if is_address(pretrained) or Path(pretrained).suffix != '.safetensors' or not Path(pretrained).is_file():
        return {}
    try:
        with safetensors.safe_open(pretrained, framework='numpy') as file:
            stored = json.loads((file.metadata() or {}).get('protocol', '{}'))
    except (safetensors.SafetensorError, OSError, ValueError):     # loading will say what is wrong
        return {}
    return {key: value for key, value in stored.items() if key in PROTOCOL} if isinstance(stored, dict) else {}


def _check_entry(entry, name):
    keys = set(entry) if isinstance(entry, dict) else set()
    strange, data = keys - REQUIRED - OPTIONAL, entry.get('DATA') or {} if keys else {}
    if not REQUIRED <= keys or strange or not isinstance(data, dict) or set(data) - PROTOCOL:
        raise UserError(f'MODEL.WEIGHTS of {name} holds {entry!r}; wanted {", ".join(sorted(REQUIRED))}, and perhaps '
                        f'{", ".join(sorted(OPTIONAL))}, with DATA of {", ".join(sorted(PROTOCOL))}')


def locate(cfg, pretrained):
    """(path of the weights on this machine, fetched if they are not here yet; where they come from; their entry or {})."""
    entry = find_entry(cfg.MODEL.WEIGHTS, pretrained, cfg.MODEL.NAME)
    if entry is not None:
        tag, manual = entry['TAG'], entry.get('MANUAL', False)
        name = f'{cfg.MODEL.NAME}-{tag}.pth' if manual else ''     # a page's address does not end in the file's name
        path = fetch(entry['URL'], entry.get('SHA256', ''), name, manual=manual)
        return path, f'{entry["URL"]} ({cfg.MODEL.NAME}, {tag})', entry
    if is_address(pretrained):
        return fetch(pretrained), pretrained, {}
    return Path(pretrained), pretrained, {}


def load_pretrained(model, pretrained):
    """Give a network published weights, or those of a file in any known format and key style; all of them or nothing.

    The classifier keeps its fresh weights where the number of classes differs, and the first convolution is adapted where
    the number of input channels does.
    Args:
        pretrained: a tag of MODEL.WEIGHTS, 'default' for its first, an address, or a path.
    Returns:
        (where the weights come from, names of the classifier's entries that were kept).
    Raises:
        UserError: no such weights, a download that fails, a file that is damaged or does not fit.
    """
    path, source, entry = locate(model.config, pretrained)
    state = read_for(model, path, entry.get('WRAPPER', ''), entry.get('STYLE', ''))
    return source, load_state(model, adapt_first_convolution(model, state), source, new_classifier=True)


def load_whole(model, pretrained, advice):
    """The same, with the classifier, which must fit: otherwise a UserError that ends in `advice`."""
    source, dropped = load_pretrained(model, pretrained)
    if dropped:
        raise UserError(f'{source} has another number of classes than {model.config.MODEL.NUM_CLASSES}; {advice}')


def with_protocol(cfg, pretrained):
    """A configuration with MODEL.PRETRAINED set, and with the preprocessing that comes with these weights."""
    cfg = cfg.clone()
    cfg.defrost()
    cfg.MODEL.PRETRAINED = pretrained
    for key, value in protocol(cfg.MODEL.WEIGHTS, pretrained, cfg.MODEL.NAME).items():
        cfg.DATA[key] = value
    cfg.freeze()
    return cfg
