"""Weights in and out: files of tensors, read without running code, loaded strictly."""
import hashlib
import json
from pathlib import Path

import numpy as np
import paddle
import safetensors
from safetensors.numpy import load_file, save_file

from image_classification.errors import UserError
from image_classification.files import write_atomically
from image_classification.weights.formats import safe_pickle
from image_classification.weights.formats.torch_file import is_torch, read_torch
from image_classification.weights.key_styles import detect_style, to_ours, to_published, without_prefix

# Where training programs put a state dict, the preferred first: the moving average is what they evaluate.
WRAPPERS = ('model_ema', 'state_dict_ema', 'ema', 'model', 'state_dict')
# Beside the weights, of paddle.save and of tools/convert_weights.py.
NOTES = ('StructuredToParameterName@@', '__provenance__')
CHECKSUM = 'sha256'                        # the key of a file's metadata; of the content, see `checksum`
# What is saved by mistake in place of weights, by how it begins.
_NO_WEIGHTS = {b'<': 'a web page', b'version https://git-lfs': 'a pointer to a file in Git LFS'}


def load_weights(model, path, new_classifier=False):
    """Load a weights file or a checkpoint into `model`, all of it or nothing.

    Args:
        path: as `read_weights` takes it, in any publisher's key style.
        new_classifier: keep the model's own classifier where the file's has another number of classes.
    Returns:
        names of the classifier's parameters that were kept for that reason.
    Raises:
        UserError: the file is missing, damaged, of another format, or does not fit; nothing has been changed then.
    """
    return load_state(model, read_for(model, path), path, new_classifier)


def read_for(model, path, wrapper='', style=''):
    """`read_weights` in the model's names and shapes, as far as they fit; style '' is found out."""
    state = read_weights(path, wrapper)
    return to_ours(model, state, style or detect_style(model, state))


def load_state(model, state, source, new_classifier=False):
    """The same from {name: array}; `source` names it in errors."""
    dropped = _fit(model, state, source, new_classifier)
    with paddle.no_grad():
        for name, tensor in model.state_dict().items():
            if name not in dropped:
                tensor.set_value(np.asarray(state[name]).astype(_numpy_dtype(tensor)))
    return dropped


def _fit(model, state, source, new_classifier):
    """Raise UserError unless `state` has all of the model's entries, in their shapes, and no others. Returns the names of the
    classifier's entries if they differ in shape and `new_classifier` allows it."""
    own = model.state_dict()
    misfits = [name for name in own if name in state and tuple(state[name].shape) != tuple(own[name].shape)]
    classifier = [name for name in misfits if name.startswith(tuple(f'{prefix}.' for prefix in model.classifier_layers))]
    dropped = classifier if new_classifier and classifier == misfits else []
    problems = {
        'missing': [f'{name} {tuple(own[name].shape)}' for name in own if name not in state],
        'unexpected': [f'{name} {tuple(np.shape(state[name]))}' for name in state if name not in own],
        'of another shape': [f'{name} {tuple(state[name].shape)}, wanted {tuple(own[name].shape)}'
                             for name in misfits if name not in dropped],
    }
    if any(problems.values()):
        found = '; '.join(f'{len(names)} {kind}: {", ".join(names[:3])}{", ..." if len(names) > 3 else ""}'
                          for kind, names in problems.items() if names)
        raise UserError(f'{source} does not fit {type(model).__name__} ({model.config.MODEL.NAME}): {found}. '
                        'Check the model\'s name and MODEL.NUM_CLASSES.')
    return dropped


def from_torch(model, torch_state, style='', strict=True):
    """A published PyTorch state dict as this model's: {published key: array} -> {our name: array}.

    Args:
        style: whose keys these are, of the family's `published.py` (official, timm, torchvision); '' is the family's own.
            `detect_style` finds it.
        strict: check that names and shapes are the model's. `load_state` does so, too, and can accept another classifier.
    Raises:
        UserError: an unknown style; names are missing or unexpected, or shapes differ: the first few of each are listed.
    """
    state = to_ours(model, torch_state, style)
    if strict:
        _fit(model, state, 'the PyTorch state dict', new_classifier=False)
    return state


def to_torch(model, style=''):
    """The inverse: the model's weights under the keys and in the shapes of a publisher, {published key: array}."""
    return to_published(model, style)


def _numpy_dtype(tensor):
    return str(tensor.dtype).rsplit('.', 1)[-1]


def read_weights(path, wrapper=''):
    """{name: array} from a weights file; from a checkpoint of ours its moving average, else its model.

    What the file holds decides how it is read, its ending only what an error says.
    Args:
        path: .safetensors, .pdparams, or what `torch.save` wrote (.pth, .pt, .tar, .bin).
        wrapper: which part of a training checkpoint to take, if it is one; by default the first of `WRAPPERS` that it has.
    Raises:
        UserError: the file is missing, damaged, of another format, or holds something else than weights.
    """
    path = Path(path)
    kind = _format(path)
    if kind == '.safetensors':
        state, _ = read_safetensors(path)
        for prefix in ('ema.', 'model.'):
            inside = {name[len(prefix):]: value for name, value in state.items() if name.startswith(prefix)}
            if inside:
                return inside
        return state
    content = read_torch(path) if kind == '.pth' else safe_pickle.load(path, encoding='latin1')
    parts = [name for name in WRAPPERS if isinstance(content, dict) and isinstance(content.get(name), dict)]
    if wrapper and parts and wrapper not in parts:
        raise UserError(f'{path} has no part {wrapper!r}; found {", ".join(parts)}. Fetch the checkpoint that has it.')
    return _state(unwrap(content, (wrapper,) if wrapper else WRAPPERS), path)


def _format(path):
    """'.safetensors', '.pdparams' (any pickle) or '.pth', by the first bytes; by the ending if these say nothing."""
    try:
        with open(path, 'rb') as file:
            start = file.read(512)
    except OSError as error:
        raise UserError(f'no weights at {path} ({error.strerror}); wanted a .safetensors, .pdparams or PyTorch file') from None
    if start[8:9] == b'{':                                         # behind the header's length
        return '.safetensors'
    if is_torch(start):
        return '.pth'
    if start[:1] == b'\x80':                                       # the protocol of a pickle
        return '.pdparams'
    hint = next((text for mark, text in _NO_WEIGHTS.items() if start.lstrip().startswith(mark)), '')
    if not hint and path.suffix in ('.safetensors', '.pdparams'):
        return path.suffix                                         # whose reader says what is wrong
    raise UserError(f'{path} is {hint or "damaged, or no weights file"}; wanted a .safetensors, .pdparams or PyTorch file. '
                    'Fetch or copy it again.')


def unwrap(content, prefer=WRAPPERS):
    """The state dict within what a training program saved: the first part of these names, without `module.`, which PyTorch's
    parallel wrappers put before every key. What has no such part is given back as it is."""
    if not isinstance(content, dict):
        return content
    state = next((content[name] for name in prefer if isinstance(content.get(name), dict)), content)
    return without_prefix(state)


def read_safetensors(path):
    """({name: array}, {metadata key: text}) of a .safetensors file. One of ours is compared with its checksum.

    Raises:
        UserError: the file is missing, cut off, changed, or of another format.
    """
    try:
        with safetensors.safe_open(path, framework='numpy') as file:
            metadata = file.metadata() or {}
        tensors = load_file(path)
        foreign = [array.dtype for array in tensors.values() if array.dtype.isbuiltin == 2]
        if foreign:                                                # bfloat16, where another package has brought it to numpy
            raise TypeError(str(foreign[0]))
    except (TypeError, AttributeError) as error:                   # of the library, for types that numpy lacks
        raise UserError(f'{path} holds numbers of a type that is not read here ({error}); wanted float32 or float16') from None
    except (safetensors.SafetensorError, OSError, ValueError, json.JSONDecodeError) as error:
        raise UserError(f'{path} is damaged or no .safetensors file: {error}. Fetch or copy it again.') from None
    wanted = metadata.pop(CHECKSUM, '')
    if wanted and checksum(tensors, metadata) != wanted:
        raise UserError(f'{path} is damaged: its content has changed since it was written (the checksum differs). Take another '
                        'copy or an earlier checkpoint.')
    return tensors, metadata


def write_safetensors(path, tensors, metadata):
    """Write beside `path`, sync, rename: a reader sees the old file or the new one. The metadata gets a checksum."""
    arrays = {name: np.ascontiguousarray(value) for name, value in tensors.items()}

    def save(temporary):
        try:
            save_file(arrays, temporary, {**metadata, CHECKSUM: checksum(arrays, metadata)})
        except safetensors.SafetensorError as error:               # its word for a full disk, among others
            raise OSError(str(error)) from None
    write_atomically(path, save, 'Free some space or choose another directory (-output).')


def checksum(arrays, metadata):
    """SHA-256 of all names, types, shapes, numbers and of the metadata: a flipped bit anywhere in a file shows. The same for
    every format."""
    digest = hashlib.sha256(json.dumps(sorted(metadata.items())).encode())
    for name, array in sorted(arrays.items()):
        digest.update(f'{name} {array.dtype} {array.shape} '.encode())
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8))
    return digest.hexdigest()


def _state(content, path):
    """{name: array} of a state dict, whose values are checked."""
    if not isinstance(content, dict):
        raise UserError(f'{path} holds a {type(content).__name__}; wanted the state dict of a network')
    state = {name: _array(value) for name, value in content.items() if name not in NOTES}
    strange = [name for name, value in state.items() if value is None]
    if strange or not state:
        raise UserError(f'{path} holds no tensors under {strange[:3] or "any name"}; wanted the state dict of a network')
    return state


def _array(value):
    """The array in a saved tensor: paddle.save writes it bare or, in nested dicts, as (name, array)."""
    if isinstance(value, tuple) and len(value) == 2:
        value = value[1]
    return value if isinstance(value, np.ndarray) else None
