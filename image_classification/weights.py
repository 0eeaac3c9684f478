"""Weights in and out: files of tensors, read without running code, loaded strictly."""
import json
import os
from pathlib import Path

import numpy as np
import paddle
import safetensors
from safetensors.numpy import load_file, save_file

from image_classification import safe_pickle
from image_classification.errors import UserError

# Wrappers that training programs put around a state dict, the preferred first: EMA is what they evaluate.
_WRAPPERS = ('model_ema', 'model', 'state_dict')


def load_weights(model, path, new_classifier=False):
    """Load a weights file or a checkpoint into `model`, all of it or nothing.

    Args:
        path: .safetensors (of a checkpoint its moving average, if it has one) or .pdparams.
        new_classifier: keep the model's own classifier where the file's has another number of classes.
    Returns:
        names of the classifier's parameters that were kept for that reason.
    Raises:
        UserError: the file is missing, damaged, of another format, or does not fit; nothing has been changed then.
    """
    return load_state(model, read_weights(path), path, new_classifier)


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
        'missing': [name for name in own if name not in state],
        'unexpected': [name for name in state if name not in own],
        'of another shape': [f'{name} {tuple(state[name].shape)}, wanted {tuple(own[name].shape)}'
                             for name in misfits if name not in dropped],
    }
    if any(problems.values()):
        found = '; '.join(f'{len(names)} {kind}: {", ".join(names[:3])}{", ..." if len(names) > 3 else ""}'
                          for kind, names in problems.items() if names)
        raise UserError(f'{source} does not fit {type(model).__name__} ({model.config.MODEL.NAME}): {found}. '
                        'Check the model\'s name and MODEL.NUM_CLASSES.')
    return dropped


def from_torch(model, torch_state):
    """A published PyTorch state dict as this model's: {published key: array} -> {our key: array}, strict.

    Batch norms' `running_mean`/`running_var` become `_mean`/`_variance`, weights of `nn.Linear` layers transpose, everything
    else is equal. `num_batches_tracked` and what the model lists in `derived_entries` (endings of published keys whose
    values follow from the architecture) have no counterpart here.
    Raises:
        UserError: names are missing or unexpected, or shapes differ; the first few of each are listed.
    """
    linear = {f'{name}.weight' for name, layer in model.named_sublayers() if isinstance(layer, paddle.nn.Linear)}
    skipped = ('num_batches_tracked', *getattr(model, 'derived_entries', ()))
    state = {}
    for key, value in torch_state.items():
        if key.endswith(skipped):
            continue
        group, dot, last = key.rpartition('.')
        name = group + dot + {'running_mean': '_mean', 'running_var': '_variance'}.get(last, last)
        state[name] = np.asarray(value).T if name in linear else np.asarray(value)
    _fit(model, state, 'the PyTorch state dict', new_classifier=False)
    return state


def _numpy_dtype(tensor):
    return str(tensor.dtype).rsplit('.', 1)[-1]


def read_weights(path):
    """{name: array} from a weights file; from a checkpoint of ours its moving average, else its model."""
    path = Path(path)
    if not path.is_file():
        raise UserError(f'no weights at {path}; wanted a .safetensors or .pdparams file')
    if path.suffix == '.safetensors':
        state, _ = read_safetensors(path)
        for prefix in ('ema.', 'model.'):
            inside = {name[len(prefix):]: value for name, value in state.items() if name.startswith(prefix)}
            if inside:
                return inside
        return state
    if path.suffix == '.pdparams':
        return _read_pdparams(path)
    raise UserError(f'{path} ends in {path.suffix or "nothing"!r}; wanted .safetensors or .pdparams')


def read_safetensors(path):
    """({name: array}, {metadata key: text}) of a .safetensors file."""
    try:
        with safetensors.safe_open(path, framework='numpy') as file:
            metadata = file.metadata() or {}
        return load_file(path), metadata
    except (safetensors.SafetensorError, OSError, ValueError, json.JSONDecodeError) as error:
        raise UserError(f'{path} is damaged or no .safetensors file: {error}. Fetch or copy it again.') from None


def write_safetensors(path, tensors, metadata):
    """Write beside `path`, sync, rename: a reader sees the old file or the new one."""
    path = Path(path)
    temporary = path.with_name(f'.{path.name}.{os.getpid()}.tmp')
    try:
        save_file({name: np.ascontiguousarray(value) for name, value in tensors.items()}, temporary, metadata)
        with open(temporary, 'rb+') as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise UserError(f'cannot write {path}: {error.strerror or error}. Free some space or choose another -output.') from None
    finally:
        temporary.unlink(missing_ok=True)


def _read_pdparams(path):
    content = safe_pickle.load(path, encoding='latin1')
    for wrapper in _WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
            break
    if not isinstance(content, dict):
        raise UserError(f'{path} holds a {type(content).__name__}; wanted the state dict of a network')
    state = {name: _array(value) for name, value in content.items() if name != 'StructuredToParameterName@@'}
    strange = [name for name, value in state.items() if value is None]
    if strange or not state:
        raise UserError(f'{path} holds no tensors under {strange[:3] or "any name"}; wanted the state dict of a network')
    return state


def _array(value):
    """The array in a saved tensor: paddle.save writes it bare or, in nested dicts, as (name, array)."""
    if isinstance(value, tuple) and len(value) == 2:
        value = value[1]
    return value if isinstance(value, np.ndarray) else None
