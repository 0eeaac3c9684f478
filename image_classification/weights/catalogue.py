"""The catalogue of published weights: the entries below PUBLISHED.WEIGHTS in a network's yaml, the default first.

    - {TAG: imagenet1k_v1, STYLE: torchvision, LICENCE: BSD-3-Clause, TOP1: 67.668, SHA256: 047dcff4, SOURCE: pytorch/vision,
       URL: 'https://download.pytorch.org/models/mobilenet_v3_small-047dcff4.pth', DATA: {CROP_PCT: 0.875}}

`STYLE` is the key style of the file (`key_styles.py`). `DATA` is how the publisher prepares images for the accuracy `TOP1`. It
becomes the configuration's DATA, and so the preprocessing of training, checkpoints, exports and predictions.

`MODEL` has keys of NETWORK, if the weights are for another network than the yaml's: PaddleClas's MobileNetV1 has ReLU. `SHA256`
and `MD5` are digests that the publisher states; many publishers state none.

Other programs may use a family's name for another network. Its weights are listed in the family's `config.py` and refused, with
the reason:

    REFUSED = [{'STYLES': ['paddleclas'], 'KEY': '_entry_flow._conv1._conv.weight', 'WHY': "PaddleClas's Xception is ..."}]

They are recognised by a tag that begins with one of STYLES, by the ending of a key (KEY), or by a part of the file's name in
lower case (FILE).

Instead of `URL`, `PACKAGE` may name a Python package that contains the file (`packages.py`). Such an entry is the default if
its package is installed. Otherwise the default is the first entry with a URL. `FILE` is a checkpoint in this library's own
directory weights/, with its configuration and class names. It is never the default, because its classes are not ImageNet's.
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
PLACES = {'URL', 'PACKAGE', 'FILE'}                                # exactly one of them
OPTIONAL = {'TOP1', 'SHA256', 'MD5', 'WRAPPER', 'MANUAL', 'NUM_CLASSES', 'DATA', 'MODEL'}   # MANUAL: URL is a web page
PREPROCESSING = {'IMAGE_SIZE', 'CROP_PCT', 'INTERPOLATION', 'IMAGENET_MEAN', 'IMAGENET_STD', 'COLOR_ORDER'}   # keys of DATA
NETWORK = {'ACTIVATION', 'DESIGN', 'EPSILON'}                      # keys of MODEL that may not change any shape
ENTRY_WORDS = (f'{", ".join(sorted(REQUIRED))}, URL, PACKAGE or FILE, and perhaps {", ".join(sorted(OPTIONAL))}, with DATA of '
               f'{", ".join(sorted(PREPROCESSING))}, MODEL of {", ".join(sorted(NETWORK))}')
_SHARED = {'TYPE', 'NAME', 'NUM_CLASSES', 'IN_CHANNELS', 'DROPPATH', 'GRAD_CHECKPOINTING'}    # keys of MODEL in every family
CHECKPOINTS = 'paddle-mobile-backbones checkpoint'                 # how 'format' begins in the metadata of our checkpoints
DEFAULT = 'default'                                                # stands for the first available tag; so does True


def is_address(text):
    return text.startswith(('http://', 'https://'))


def find_entry(entries, pretrained, name, refused=()):
    """The entry of PUBLISHED.WEIGHTS for `pretrained`, a tag or 'default'; None for an address or a file.

    Args:
        refused: the family's REFUSED; if a tag has one of its styles, the message gives the reason.
    Raises:
        UserError: `pretrained` is none of these, or an entry lacks a key or has an unknown one.
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
    """The entry with this tag, or the one that 'default' stands for on this machine; None if there is none."""
    if pretrained == DEFAULT:
        packages = [entry for entry in entries if 'PACKAGE' in entry]
        installed = [entry for entry in packages if is_installed(entry['PACKAGE'])]
        return next(iter([*installed, *(entry for entry in entries if 'URL' in entry), *packages]), None)
    return next((entry for entry in entries if entry['TAG'] == pretrained), None)


def library_file(entry):
    """The path of the checkpoint that an entry with FILE means."""
    return HOME / entry['FILE']


def file_in_library(entries, pretrained):
    """The path of the checkpoint that a tag means, where this library holds it; otherwise `pretrained` as it is."""
    entry = meant(entries, pretrained)
    return str(library_file(entry)) if entry is not None and 'FILE' in entry else pretrained


def architecture_of(pretrained, name):
    """{key of MODEL: value} that describe the network of a checkpoint of this library, as its family has them; {} of other
    weights, and of a checkpoint of a network that is not called `name`."""
    model = _of_checkpoint(_notes(pretrained)).get('MODEL')
    if not isinstance(model, dict) or model.get('NAME') != name:
        return {}
    return {key: value for key, value in model.items() if key not in _SHARED and 'DROPOUT' not in key}


def preprocessing_of(entries, pretrained, name, refused=()):
    """The DATA keys that come with weights: a tag, a checkpoint of this library, or a file from tools/convert_weights.py."""
    entry = find_entry(entries, pretrained, name, refused)
    if entry is not None and 'FILE' not in entry:
        return entry.get('DATA') or {}
    return preprocessing_in(file_in_library(entries, pretrained))


def network_of(entries, pretrained):
    """The MODEL keys (those in NETWORK) that come with weights, as in `preprocessing_of`."""
    entry = meant(entries, pretrained)
    return network_in(pretrained) if entry is None else dict(entry.get('MODEL') or {})


def network_in(path):
    """The MODEL keys that come with a file; {} if it has none."""
    return network_of_notes(_notes(path))


def network_of_notes(notes):
    """The MODEL keys in a file's notes, {key: text}."""
    stored = _of_checkpoint(notes).get('MODEL') or _read(json.loads, notes.get('network', '{}'))
    return {key: value for key, value in stored.items() if key in NETWORK} if isinstance(stored, dict) else {}


def is_refused(entry, file, keys):
    """Whether an entry of a family's REFUSED describes a file with this name and these keys."""
    if 'FILE' in entry:
        return entry['FILE'] in file.lower()
    return any(f'.{key}'.endswith(f'.{entry["KEY"]}') for key in keys)


def preprocessing_in(path):
    """The DATA keys that come with a file; {} if it has none."""
    notes = _notes(path)
    stored = _of_checkpoint(notes).get('DATA') or _read(json.loads, notes.get('protocol', '{}'))
    return {key: value for key, value in stored.items() if key in PREPROCESSING} if isinstance(stored, dict) else {}


def classifier_of(pretrained):
    """{dotted key: value} for input channels, classes and temperature in a checkpoint of this library; {} for other weights."""
    stored = _of_checkpoint(_notes(pretrained))
    model = stored.get('MODEL') if isinstance(stored.get('MODEL'), dict) else {}
    values = {'MODEL.NUM_CLASSES': model.get('NUM_CLASSES'), 'MODEL.IN_CHANNELS': model.get('IN_CHANNELS'),
              'TEMPERATURE': stored.get('TEMPERATURE')}
    return {key: value for key, value in values.items() if value is not None}


def _notes(pretrained):
    """The metadata of a .safetensors file; {} for anything else, because loading will report what is wrong."""
    pretrained = os.fspath(pretrained)
    if is_address(pretrained) or Path(pretrained).suffix != '.safetensors' or not os.path.isfile(pretrained):
        return {}
    try:
        with safetensors.safe_open(pretrained, framework='numpy') as file:
            return file.metadata() or {}
    except (safetensors.SafetensorError, OSError, ValueError):
        return {}


def _of_checkpoint(notes):
    """The configuration in the metadata of a checkpoint, as a dict; {} for another file."""
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
    """Whether `entry` is a valid entry of PUBLISHED.WEIGHTS: ENTRY_WORDS says what is wanted."""
    keys = set(entry) if isinstance(entry, dict) else set()
    data, model = (entry.get(group) or {} if keys else {} for group in ('DATA', 'MODEL'))
    return (REQUIRED <= keys and len(keys & PLACES) == 1 and not keys - REQUIRED - PLACES - OPTIONAL
            and all(isinstance(entry[key], str) for key in keys & (REQUIRED | PLACES))
            and isinstance(data, dict) and not set(data) - PREPROCESSING
            and isinstance(model, dict) and not set(model) - NETWORK)


def _check_entry(entry, name):
    if not is_entry(entry):
        raise UserError(f'PUBLISHED.WEIGHTS of {name} holds {entry!r}; wanted {ENTRY_WORDS}')
