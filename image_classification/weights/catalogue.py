"""The catalogue of published weights: what a network's yaml lists below PUBLISHED.WEIGHTS, the default first.

    - {TAG: imagenet1k_v1, STYLE: torchvision, LICENCE: BSD-3-Clause, TOP1: 67.668, SHA256: 047dcff4, SOURCE: pytorch/vision,
       URL: 'https://download.pytorch.org/models/mobilenet_v3_small-047dcff4.pth', DATA: {CROP_PCT: 0.875}}

`STYLE` says whose key names the file has (`key_styles.py`), `DATA` how its publisher prepares images for the accuracy `TOP1`:
it becomes the configuration's DATA, and so the preprocessing of training, checkpoints, exports and predictions.
"""
import json
from pathlib import Path

import safetensors

from image_classification.errors import UserError

REQUIRED = {'TAG', 'URL', 'STYLE', 'LICENCE', 'SOURCE'}
OPTIONAL = {'TOP1', 'SHA256', 'WRAPPER', 'MANUAL', 'NUM_CLASSES', 'DATA'}   # MANUAL: URL is a page for people
PREPROCESSING = {'IMAGE_SIZE', 'CROP_PCT', 'INTERPOLATION', 'IMAGENET_MEAN', 'IMAGENET_STD', 'COLOR_ORDER'}   # keys of DATA
DEFAULT = 'default'                                                # stands for the first tag, as True does


def is_address(text):
    return text.startswith(('http://', 'https://'))


def find_entry(entries, pretrained, name):
    """The entry of PUBLISHED.WEIGHTS that `pretrained` means, a tag or 'default'; None for an address or a file.

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


def preprocessing_of(entries, pretrained, name):
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
    return {key: value for key, value in stored.items() if key in PREPROCESSING} if isinstance(stored, dict) else {}


def _check_entry(entry, name):
    keys = set(entry) if isinstance(entry, dict) else set()
    strange, data = keys - REQUIRED - OPTIONAL, entry.get('DATA') or {} if keys else {}
    if not REQUIRED <= keys or strange or not isinstance(data, dict) or set(data) - PREPROCESSING:
        raise UserError(f'PUBLISHED.WEIGHTS of {name} holds {entry!r}; wanted {", ".join(sorted(REQUIRED))}, and perhaps '
                        f'{", ".join(sorted(OPTIONAL))}, with DATA of {", ".join(sorted(PREPROCESSING))}')
