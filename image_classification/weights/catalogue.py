"""The catalogue of published weights: what a network's yaml lists below PUBLISHED.WEIGHTS, the default first.

    - {TAG: imagenet1k_v1, STYLE: torchvision, LICENCE: BSD-3-Clause, TOP1: 67.668, SHA256: 047dcff4, SOURCE: pytorch/vision,
       URL: 'https://download.pytorch.org/models/mobilenet_v3_small-047dcff4.pth', DATA: {CROP_PCT: 0.875}}

`STYLE` says whose key names the file has (`key_styles.py`), `DATA` how its publisher prepares images for the accuracy `TOP1`:
it becomes the configuration's DATA, and so the preprocessing of training, checkpoints, exports and predictions.

`MODEL`, of the keys in NETWORK, says which network they are for, where it is not the yaml's: PaddleClas's MobileNetV1 has ReLU.
A digest, `SHA256` or `MD5`, is given where its publisher says it; many do not, and nobody here has made one up.

What other programs call by the name of a family and is another network is listed in its `config.py`, to be refused with the
reason:

    REFUSED = [{'STYLES': ['paddleclas'], 'KEY': '_entry_flow._conv1._conv.weight', 'WHY': "PaddleClas's Xception is ..."}]

by a tag that begins like one of STYLES, by the ending of a key, or by FILE, a part of the file's name in small letters.

In place of `URL`, `PACKAGE` names a Python package that holds the file (`packages.py`). Such an entry is the default where its
package is installed; elsewhere the default is the first that has a URL. `FILE` is a checkpoint in this library's own directory
weights/, with its configuration and class names; it is never the default, because its classes are not ImageNet's.
"""
import json
import os
from pathlib import Path

import safetensors
import yaml

from image_classification.errors import UserError
from image_classification.installation import HOME
from image_classification.weights.packages import is_installed

REQUIRED = {'TAG', 'STYLE', 'LICENCE', 'SOURCE'}
PLACES = {'URL', 'PACKAGE', 'FILE'}                                # one of them
OPTIONAL = {'TOP1', 'SHA256', 'MD5', 'WRAPPER', 'MANUAL', 'NUM_CLASSES', 'DATA', 'MODEL'}   # MANUAL: URL is a page for people
PREPROCESSING = {'IMAGE_SIZE', 'CROP_PCT', 'INTERPOLATION', 'IMAGENET_MEAN', 'IMAGENET_STD', 'COLOR_ORDER'}   # keys of DATA
NETWORK = {'ACTIVATION', 'DESIGN', 'EPSILON'}                      # keys of MODEL that shapes need not show
ENTRY_WORDS = (f'{", ".join(sorted(REQUIRED))}, URL, PACKAGE or FILE, and perhaps {", ".join(sorted(OPTIONAL))}, with DATA of '
               f'{", ".join(sorted(PREPROCESSING))}, MODEL of {", ".join(sorted(NETWORK))}')
_SHARED = {'TYPE', 'NAME', 'NUM_CLASSES', 'IN_CHANNELS', 'DROPPATH', 'GRAD_CHECKPOINTING'}    # keys of MODEL in every family
CHECKPOINTS = 'paddle-mobile-backbones checkpoint'                 # how the format of this library's begins, in their metadata
DEFAULT = 'default'                                                # stands for the first tag that can be had, as True does


def is_address(text):
    return text.startswith(('http://', 'https://'))


def find_entry(entries, pretrained, name, refused=()):
    """The entry of PUBLISHED.WEIGHTS that `pretrained` means, a tag or 'default'; None for an address or a file.

    Args:
        refused: REFUSED of the family, whose reason is given for a tag of these styles.
    Raises:
        UserError: neither of these; an entry that lacks something, or has an unknown key.
    """
    for entry in entries:
        _check_entry(entry, name)
    entry = meant(entries, pretrained)
    if entry is not None:
        return entry
    if pretrained == DEFAULT:
        tags = ', '.join(entry['TAG'] for entry in entries)
        raise UserError(f'nobody publishes ImageNet weights for {name}; give a file{f", or one of the tags {tags}" if tags else ""}, '
                        'or see image_classification.list_pretrained()')
    if is_address(pretrained) or os.path.exists(pretrained) or Path(pretrained).suffix:   # Path.exists raises for long names
        return None
    tags = [entry['TAG'] for entry in entries]
    shown = pretrained if len(pretrained) < 100 else f'{pretrained[:60]}...'
    why = next((f': {entry["WHY"]}' for entry in refused if pretrained.startswith(tuple(entry['STYLES']))), '')
    raise UserError(f'{name} has no weights {shown!r}{why}; wanted {", ".join([*tags, "a file", "an address"])}')


def meant(entries, pretrained):
    """The entry of this tag, or that 'default' means on this machine; None where there is none."""
    if pretrained == DEFAULT:
        installed = [entry for entry in entries if 'PACKAGE' in entry and is_installed(entry['PACKAGE'])]
        others = [entry for entry in entries if 'PACKAGE' in entry]
        return next(iter([*installed, *(entry for entry in entries if 'URL' in entry), *others]), None)
    return next((entry for entry in entries if entry['TAG'] == pretrained), None)


def file_in_library(entries, pretrained):
    """The path of the checkpoint that a tag means, where this library holds it; otherwise `pretrained` as it is."""
    entry = meant(entries, pretrained)
    return str(HOME / entry['FILE']) if entry is not None and 'FILE' in entry else pretrained


def architecture_of(pretrained, name):
    """{key of MODEL: value} that describe the network of a checkpoint of this library, as its family has them; {} of other
    weights, and of a checkpoint of a network that is not called `name`."""
    model = _of_checkpoint(_notes(pretrained)).get('MODEL')
    if not isinstance(model, dict) or model.get('NAME') != name:
        return {}
    return {key: value for key, value in model.items() if key not in _SHARED and 'DROPOUT' not in key}


def preprocessing_of(entries, pretrained, name, refused=()):
    """The DATA keys that come with weights: a tag, a checkpoint of this library, or a file of tools/convert_weights.py."""
    entry = find_entry(entries, pretrained, name, refused)
    if entry is not None and 'FILE' not in entry:
        return entry.get('DATA') or {}
    return preprocessing_in(file_in_library(entries, pretrained))


def network_of(entries, pretrained):
    """The MODEL keys that come with the same."""
    entry = meant(entries, pretrained)
    return network_in(pretrained) if entry is None else dict(entry.get('MODEL') or {})


def network_in(path):
    """The same of a file; {} where it says none."""
    return network_of_notes(_notes(path))


def network_of_notes(notes):
    """The same of its notes, {key: text}."""
    stored = _of_checkpoint(notes).get('MODEL') or _read(json.loads, notes.get('network', '{}'))
    return {key: value for key, value in stored.items() if key in NETWORK} if isinstance(stored, dict) else {}


def is_refused(entry, file, keys):
    """Whether an entry of a family's REFUSED means a file of this name and these keys."""
    if 'FILE' in entry:
        return entry['FILE'] in file.lower()
    return any(f'.{key}'.endswith(f'.{entry["KEY"]}') for key in keys)


def preprocessing_in(path):
    """The same of a file; {} where it says none."""
    notes = _notes(path)
    stored = _of_checkpoint(notes).get('DATA') or _read(json.loads, notes.get('protocol', '{}'))
    return {key: value for key, value in stored.items() if key in PREPROCESSING} if isinstance(stored, dict) else {}


def classifier_of(pretrained):
    """{dotted key: value} that a checkpoint of this library says of its input and its classes; {} of other weights."""
    stored = _of_checkpoint(_notes(pretrained))
    model = stored.get('MODEL') if isinstance(stored.get('MODEL'), dict) else {}
    values = {'MODEL.NUM_CLASSES': model.get('NUM_CLASSES'), 'MODEL.IN_CHANNELS': model.get('IN_CHANNELS'),
              'TEMPERATURE': stored.get('TEMPERATURE')}
    return {key: value for key, value in values.items() if value is not None}


def _notes(pretrained):
    """The metadata of a .safetensors file; {} of anything else: loading will say what is wrong."""
    pretrained = os.fspath(pretrained)
    if is_address(pretrained) or Path(pretrained).suffix != '.safetensors' or not os.path.isfile(pretrained):
        return {}
    try:
        with safetensors.safe_open(pretrained, framework='numpy') as file:
            return file.metadata() or {}
    except (safetensors.SafetensorError, OSError, ValueError):
        return {}


def _of_checkpoint(notes):
    """The configuration in the metadata of a checkpoint, as a dict; {} of another file."""
    if not notes.get('format', '').startswith(CHECKPOINTS):
        return {}
    stored = _read(lambda text: yaml.load(text, Loader=getattr(yaml, 'CSafeLoader', yaml.SafeLoader)), notes.get('config', ''))
    return stored if isinstance(stored, dict) else {}


def _read(parse, text):
    try:
        return parse(text)
    except (ValueError, yaml.YAMLError):
        return {}


def is_entry(entry):
    """Whether it is one that PUBLISHED.WEIGHTS may list: ENTRY_WORDS says what is wanted."""
    keys = set(entry) if isinstance(entry, dict) else set()
    data, model = (entry.get(group) or {} if keys else {} for group in ('DATA', 'MODEL'))
    return (REQUIRED <= keys and len(keys & PLACES) == 1 and not keys - REQUIRED - PLACES - OPTIONAL
            and all(isinstance(entry[key], str) for key in keys & (REQUIRED | PLACES))
            and isinstance(data, dict) and not set(data) - PREPROCESSING
            and isinstance(model, dict) and not set(model) - NETWORK)


def _check_entry(entry, name):
    if not is_entry(entry):
        raise UserError(f'PUBLISHED.WEIGHTS of {name} holds {entry!r}; wanted {ENTRY_WORDS}')
