"""Reads, writes and loads weights files. Reading never runs code from a file, and loading is strict."""
import hashlib
import json
import os
import warnings
from pathlib import Path

import numpy as np
import paddle
import safetensors
from safetensors.numpy import load_file, save_file

from image_classification.errors import UserError
from image_classification.files import write_atomically
from image_classification.layers import beside, network_of
from image_classification.weights.catalogue import (CHECKPOINTS, architecture_of, is_refused, network_in, network_of_notes,
                                                    preprocessing_in)
from image_classification.weights.formats import safe_pickle
from image_classification.weights.formats.torch_file import is_torch, read_torch
from image_classification.weights.key_styles import (dropped, find_part, require_network, require_style, styles, to_ours,
                                                     to_published)
from image_classification.weights.parts import WRAPPERS, behind, choose_place, entries, parts, strip

# Entries beside the weights, from paddle.save and tools/convert_weights.py.
NOTES = ('StructuredToParameterName@@', '__provenance__')
CHECKSUM = 'sha256'                        # key in a file's metadata: see `checksum`
# Types of .safetensors files and numpy's names for them. numpy has no bfloat16: its bits are read as uint16 and widened.
_DTYPES = {'F64': '<f8', 'F32': '<f4', 'F16': '<f2', 'BF16': '<u2', 'I64': '<i8', 'I32': '<i4', 'I16': '<i2', 'I8': 'i1',
           'U64': '<u8', 'U32': '<u4', 'U16': '<u2', 'U8': 'u1', 'BOOL': '?', 'C64': '<c8'}
_ENDINGS = ('.safetensors', '.pdparams', '.pth', '.pt', '.bin', '.ckpt', '.tar')
_OF_EXPORTS = ('.pdiparams', '.pdmodel', '.onnx', '.xml', '.nb', '.json')
# Files that are often saved by mistake instead of weights, by their first bytes.
_NO_WEIGHTS = {b'<': 'a web page', b'version https://git-lfs': 'a pointer to a file in Git LFS'}


class Kept(list):
    """Names of the network's entries that keep their values. `why` completes a sentence about the file: 'has no classifier'."""
    why = ''


def load_weights(model, path, new_classifier=False, part=''):
    """Load a weights file or a checkpoint into `model`. Loading is all or nothing.

    A training checkpoint may hold several networks behind different prefixes. The prefix with the most entries that fit the
    network is used; unless that is the whole file, a warning names it.
    Args:
        path: a file that `read_weights` reads, in any publisher's key style.
        new_classifier: keep the model's own classifier if the file has none, or one with another number of classes.
        part: words of the prefix to use instead of the one that fits best, e.g. 'model' or 'ema.module'.
    Returns:
        names of the classifier's parameters that kept their values because of `new_classifier`.
    Raises:
        UserError: the file is missing, damaged, in another format, or does not fit. The model is unchanged then.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise UserError(f'load_weights got a {type(path).__name__}; wanted the path of a file. A state dict of PyTorch goes to '
                        'weights.from_torch, and what that gives to model.set_state_dict')
    model = _network(model, 'load_weights')
    state, note = read_for(model, path, required=part)
    kept = load_state(model, state, source_with(path, note), new_classifier)
    if note:
        warnings.warn(f'{path}: {note}', stacklevel=2)
    stored = {'DATA': preprocessing_in(path), 'MODEL': architecture_of(path, model.config.MODEL.NAME)}
    differ = list(differences(stored, model.config))
    if differ:
        warnings.warn(f'{path} was trained with {"; ".join(differ)}, as this network has. '
                      'create_model(name, pretrained=file) builds the network of the file, with its preprocessing', stacklevel=2)
    return kept


def differences(stored, config, prefix=''):
    """A text for each key of a nested dict whose value is not that of the configuration."""
    for key, value in sorted(stored.items()):
        if isinstance(value, dict):
            yield from differences(value, config.get(key, {}), f'{prefix}{key}.')
        elif key in config and config[key] != value:
            yield f'{prefix}{key} {value}, not {config[key]}'


def _network(model, function):
    """The network inside the object that a user passed to a function; `function` is the function's name, for the message."""
    network = network_of(model)
    if not hasattr(network, 'config') or not hasattr(network, 'classifier_layers'):
        raise UserError(f'{function} got a {type(model).__name__}; wanted a network of create_model, also with features_only')
    return network


def source_with(source, note):
    """The name of weights in messages: `source`, with the part that was used in brackets."""
    return f'{source} ({note})' if note else source


def read_for(model, path, wrapper='', style='', required='', suited=False):
    """(weights of a file in the model's names and shapes, as far as they fit; the part that was used, in words, '' for all).

    Args:
        wrapper: words of the prefix to use, if the file has them; for published files.
        style: key style of the file; '' detects it.
        required: like `wrapper`, but the file must have this prefix.
        suited: whether the network must compute exactly as the publisher's.
    Raises:
        OtherNetwork: the file is for a network with other values of some keys of MODEL.
    """
    content, of_ours, as_array = _content(path)
    require_network(model, _noted_network(path, content), f'{path}, as its own note says,')
    if of_ours and not required:
        return to_ours(model, of_ours, 'paddle'), ''
    found = _entries(content, path, as_array)
    chosen = behind(found, required or wrapper) if required or wrapper else found
    if required and not chosen:
        raise _no_part(path, required, found)
    _refuse(model, found, path)
    part = find_part(model, chosen or found, style)
    require_style(model, part.style, f'{path}, in ', suited)
    return to_ours(model, part.state, part.style), '' if wrapper and not part.others else part.note()


def _noted_network(path, content):
    """{key of MODEL: value} from the notes in a file of this library, for properties of the network that shapes do not show."""
    provenance = content.get('__provenance__') if isinstance(content, dict) else None
    return network_of_notes(provenance) if isinstance(provenance, dict) else network_in(path)


def _refuse(model, found, path=''):
    """Raise UserError for weights that the family lists in REFUSED, as those of another network. `found` comes from
    `entries`."""
    for entry in getattr(beside(model, 'config'), 'REFUSED', ()):
        if is_refused(entry, Path(path).name, [f'{place}{key}' for place, key, _ in found]):
            tags = ', '.join(each['TAG'] for each in model.config.PUBLISHED.WEIGHTS)
            raise UserError(f'{path or "the state dict"} is not for {model.config.MODEL.NAME}: {entry["WHY"]}. '
                            f'Wanted {f"one of the tags {tags}, or " if tags else ""}weights of this network')


def load_state(model, state, source, new_classifier=False):
    """As `load_weights`, from a dict {name: array}; `source` names the weights in errors."""
    kept = _fit(model, state, source, new_classifier)
    with paddle.no_grad():
        for name, tensor in model.state_dict().items():
            if name not in kept:
                tensor.set_value(np.asarray(state[name]).astype(_numpy_dtype(tensor)))
    return kept


def _fit(model, state, source, new_classifier):
    """Raise UserError unless `state` has exactly the model's entries, in their shapes and as real numbers.

    Returns the Kept entries: those of the classifier, if they are missing or differ in shape and `new_classifier` allows it.
    """
    own = model.state_dict()
    layers = [f'{layer}.' for layer in model.classifier_layers]
    state = {name: array for name, array in state.items() if name not in dropped(model)}
    misfits = [name for name in own if name in state and tuple(state[name].shape) != tuple(own[name].shape)]
    missing = [name for name in own if name not in state]
    kept = Kept(_without_classifier(own, state, misfits, missing, layers) if new_classifier else ())
    kept.why = f'has another number of classes than {model.config.MODEL.NUM_CLASSES}' if misfits else 'has no classifier'
    problems = {
        'missing': [f'{name} {tuple(own[name].shape)}' for name in missing if name not in kept],
        'unexpected': [f'{name} {tuple(np.shape(state[name]))}' for name in state if name not in own],
        'of another shape': [f'{name} {tuple(state[name].shape)}, wanted {tuple(own[name].shape)}'
                             for name in misfits if name not in kept],
        'of another type': [f'{name} {state[name].dtype}, wanted real numbers' for name in own
                            if name in state and 'float' in _numpy_dtype(own[name]) and 'float' not in str(state[name].dtype)],
    }
    if any(problems.values()):
        found = '; '.join(f'{len(names)} {kind}: {", ".join(names[:3])}{", ..." if len(names) > 3 else ""}'
                          for kind, names in problems.items() if names)
        raise UserError(f'{source} does not fit {type(model).__name__} ({model.config.MODEL.NAME}): {found}. '
                        'Check the model\'s name and MODEL.NUM_CLASSES.')
    return kept


def _without_classifier(own, state, misfits, missing, layers):
    """The classifier's entries that do not fit, if no others misfit and only whole layers are missing; else []."""
    if not all(name.startswith(tuple(layers)) for name in (*misfits, *missing)):
        return []
    lacking = {layer for layer in layers if any(name.startswith(layer) for name in missing)}
    if any(name in state for name in own if name.startswith(tuple(lacking))):
        return []
    return [name for name in own if name in misfits or name in missing]


def from_torch(model, torch_state, style='', strict=True):
    """Convert a published PyTorch state dict to this model's names: {published key: array} -> {our name: array}. In a training
    checkpoint, the part that fits best is used, with a warning.

    Args:
        style: a key style of the family's `published.py` (timm, paddleclas, ...); '' is the family's own. `detect_style` finds
            the style of a state dict.
        strict: check that names and shapes are the model's. `load_state` checks them, too, and can allow another classifier.
    Raises:
        UserError: the style is unknown, names are missing or unexpected, or shapes differ. The message lists the first few.
    """
    model = _network(model, 'from_torch')
    found = entries(torch_state, lambda value: None if isinstance(value, (dict, list, tuple)) else np.asarray(value))
    _refuse(model, found)
    part = find_part(model, found, style or next(iter(styles(model)), ''))
    if part.note():
        warnings.warn(f'the PyTorch state dict: {part.note()}', stacklevel=2)
    state = to_ours(model, part.state, style)
    if strict:
        _fit(model, state, 'the PyTorch state dict', new_classifier=False)
    return state


def to_torch(model, style=''):
    """The inverse of `from_torch`: the model's weights with a publisher's keys and shapes, {published key: array}."""
    return to_published(_network(model, 'to_torch'), style)


def _numpy_dtype(tensor):
    return str(tensor.dtype).rsplit('.', 1)[-1]


def read_weights(path, wrapper=''):
    """{name: array} from a weights file. From a checkpoint of this library: its moving average if it has one, else its model.

    The file's content decides how it is read. Its ending only matters for error messages.
    Args:
        path: .safetensors, .pdparams, or a file of `torch.save` (.pth, .pt, .tar, .bin).
        wrapper: which part of a training checkpoint to take; by default the first of `WRAPPERS` that it has, or its only part.
    Raises:
        UserError: the file is missing, damaged, in another format, or does not hold weights.
    """
    content, of_ours, as_array = _content(path)
    if of_ours and not wrapper:
        return of_ours
    found = _entries(content, path, as_array)
    chosen = behind(found, wrapper) if wrapper else found
    if not chosen and any(parts(found)):
        raise _no_part(path, wrapper, found)
    return unwrap(chosen or found, path)


def unwrap(found, path):
    """{key: array} of the state dict among `entries`, chosen by the name of its dict.

    Prefixes that all keys share because of PyTorch's wrappers are removed. If one dict holds 'ema.KEY' or 'model.KEY', those
    entries are taken, without that prefix.
    """
    place = choose_place(found)
    if place and len(parts(found)) > 1 and place.rstrip('.').rpartition('.')[2] not in WRAPPERS:
        raise _no_part(path, '', found)
    state = strip({key: array for where, key, array in found if where == place})
    return _inside(state) or state


def _inside(state):
    """The entries 'ema.KEY' of a state as {KEY: array}, else its entries 'model.KEY'."""
    average, plain = ({key.removeprefix(prefix): array for key, array in state.items() if key.startswith(prefix)}
                      for prefix in ('ema.', 'model.'))
    return average or plain


def _no_part(path, wanted, found):
    names = ', '.join(place.rstrip('.') for place in parts(found) if place) or 'none, but weights'
    what = f'no part {wanted!r}' if wanted else 'several parts, none with a usual name of a state dict'
    return UserError(f'{path} has {what}; found {names}. Name one of these, or fetch the checkpoint that has it.')


def _content(path):
    """(nested dicts and lists of a weights file; {name: array} if it is a checkpoint of this library, else {}; a function that
    turns a value of it into an array or None)."""
    path = Path(path)
    kind = _format(path)
    if kind == '.pth':
        return read_torch(path), {}, _array
    if kind == '.pdparams':
        return safe_pickle.load(path, encoding='latin1'), {}, _array_of_paddle
    state, metadata = read_safetensors(path)
    return state, _inside(state) if metadata.get('format', '').startswith(CHECKPOINTS) else {}, _array


def _entries(content, path, as_array):
    """The `entries` of a file. Raises UserError if there are none."""
    if not isinstance(content, (dict, list, tuple)):
        raise UserError(f'{path} holds a {type(content).__name__}; wanted the state dict of a network')
    if isinstance(content, dict):
        content = {name: value for name, value in content.items() if name not in NOTES}
    found = entries(content, as_array)
    if not found:
        names = [str(name) for name in content][:3] if isinstance(content, dict) else []
        raise UserError(f'{path} holds no tensors under {names or "any name"}; wanted the state dict of a network')
    return found


def _array(value):
    return value if isinstance(value, np.ndarray) else None


def _array_of_paddle(value):
    """The array in a value. paddle.save writes a tensor as an array or, in nested dicts, as (name, array), and bfloat16 as
    uint16 with the same bits."""
    if isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], str):
        value = value[1]
    return _widened(value) if isinstance(value, np.ndarray) and value.dtype == np.uint16 else _array(value)


def _widened(bits):
    """bfloat16 bits as uint16 -> float32; they are the upper half of its bits."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


def _format(path):
    """'.safetensors', '.pdparams' (any pickle) or '.pth', by the file's first bytes or, if these do not tell, by its ending."""
    try:
        with open(path, 'rb') as file:
            start = file.read(512)
    except IsADirectoryError:
        files = sorted(file.name for file in path.iterdir() if file.suffix in _ENDINGS)
        found = ' or '.join(files[:3]) or 'of which it has none'
        raise UserError(f'{path} is a directory; wanted a file of weights in it, {found}') from None
    except OSError as error:
        raise UserError(f'no weights at {path} ({error.strerror}); wanted a .safetensors, .pdparams or PyTorch file') from None
    if path.suffix in _OF_EXPORTS:
        raise UserError(f'{path} is part of an export, whose weights have lost their names; wanted the checkpoint or the file '
                        'of weights that it was made from')
    if start[8:9] == b'{':                                         # after the header's length
        return '.safetensors'
    if is_torch(start):
        return '.pth'
    if start[:1] == b'\x80':                                       # the protocol of a pickle
        return '.pdparams'
    hint = next((text for mark, text in _NO_WEIGHTS.items() if start.lstrip().startswith(mark)), '')
    if not hint and path.suffix in ('.safetensors', '.pdparams'):
        return path.suffix                                         # the reader for it will say what is wrong
    raise UserError(f'{path} is {hint or "damaged, or no weights file"}; wanted a .safetensors, .pdparams or PyTorch file. '
                    'Fetch or copy it again.')


def read_safetensors(path):
    """({name: array}, {metadata key: text}) of a .safetensors file, with bfloat16 widened to float32. The checksum of a file
    that this library wrote is verified.

    Raises:
        UserError: the file is missing, cut off, changed, or of another format.
    """
    try:
        with safetensors.safe_open(path, framework='numpy') as file:
            metadata = file.metadata() or {}
            kinds = {file.get_slice(name).get_dtype() for name in file.keys()}
        strange = kinds - set(_DTYPES)
        if strange:
            raise UserError(f'{path} holds numbers of a type that is not read here ({", ".join(sorted(strange))}); wanted '
                            'float32, float16 or bfloat16')
        tensors = _with_bfloat16(path) if 'BF16' in kinds else load_file(path)
    except (safetensors.SafetensorError, OSError, ValueError, json.JSONDecodeError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f'{path} is damaged or no .safetensors file: {error}. Fetch or copy it again.') from None
    wanted = metadata.pop(CHECKSUM, '')
    if wanted and checksum(tensors, metadata) != wanted:
        raise UserError(f'{path} is damaged: its content has changed since it was written (the checksum differs). Take another '
                        'copy or an earlier checkpoint.')
    return tensors, metadata


def _with_bfloat16(path):
    """{name: array} of a .safetensors file with bfloat16, which numpy does not have."""
    tensors = {}
    for name, entry in safetensors.deserialize(Path(path).read_bytes()):
        array = np.frombuffer(entry['data'], _DTYPES[entry['dtype']]).reshape(entry['shape'])
        tensors[name] = _widened(array) if entry['dtype'] == 'BF16' else array
    return tensors


def write_safetensors(path, tensors, metadata):
    """Write a .safetensors file, with a checksum in its metadata. It is written beside `path`, synced and renamed, so a reader
    sees either the old file or the new one."""
    arrays = {name: np.ascontiguousarray(value) for name, value in tensors.items()}

    def save(temporary):
        try:
            save_file(arrays, temporary, {**metadata, CHECKSUM: checksum(arrays, metadata)})
        except safetensors.SafetensorError as error:               # raised for a full disk, among others
            raise OSError(str(error)) from None
    write_atomically(path, save, 'Free some space or choose another directory (-output).')


def checksum(arrays, metadata):
    """SHA-256 of all names, types, shapes, numbers and the metadata, so that it changes with any bit of the content. It does
    not depend on the file format."""
    digest = hashlib.sha256(json.dumps(sorted(metadata.items())).encode())
    for name, array in sorted(arrays.items()):
        digest.update(f'{name} {array.dtype} {array.shape} '.encode())
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8))
    return digest.hexdigest()
