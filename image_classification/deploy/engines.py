"""The engines that run an export on the CPU: `open_engine(DIRECTORY).run(images)` gives the list of its outputs.

An export directory holds inference.yaml and the files of one or more engines (FILES). Every engine here may be used by several
threads at once. As a program it runs an export over given inputs, for `verify.py`, which must survive a crash:
python -m image_classification.deploy.engines DIRECTORY INPUTS.npz ENGINE OUTPUTS.npz [ENGINE OUTPUTS.npz ...]
"""
import sys
import threading
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import yaml

from image_classification.cpu.settings import tune_cpu
from image_classification.errors import UserError

ENGINES = ('paddle_inference', 'onnxruntime', 'openvino')
FASTEST_FIRST = ('onnxruntime', 'openvino', 'paddle_inference')    # the order in which open_engine prefers them
FILES = {                                                          # engine: alternatives, each a set of files
    'paddle_inference': [('inference.json', 'inference.pdiparams'), ('inference.pdmodel', 'inference.pdiparams')],
    'onnxruntime': [('inference.onnx',)],
    'openvino': [('inference.xml', 'inference.bin')],
}
_MODULES = {'paddle_inference': 'paddle', 'onnxruntime': 'onnxruntime', 'openvino': 'openvino'}
_EXTRAS = {'onnxruntime': 'onnx', 'onnx': 'onnx', 'openvino': 'openvino'}          # of setup.py


def available():
    """The engines that are installed."""
    return [engine for engine in ENGINES if find_spec(_MODULES[engine])]


def engines_of(directory):
    """The engines whose files are in an export directory, installed or not."""
    return [engine for engine in ENGINES if files_of(directory, engine)]


def open_engine(directory, engine=None, threads=None, bf16=False):
    """An export, ready to run.

    Args:
        engine: one of ENGINES; by default the fastest one that is installed and whose files are there.
        threads: how many one call computes with; by default what the engine finds best.
        bf16: compute in bfloat16 (OpenVINO and Paddle Inference), where the processor has it; 3 digits are left.
    Returns:
        an object with `name`, `outputs` (names), `input` ('dtype' and 'layout': what `run` wants) and `run(images)`, which
        takes float32 (B, C, H, W), or uint8 (B, H, W, C) where the preprocessing is part of the export, and gives a list of
        arrays. Several threads may call `run` at once.
    Raises:
        UserError: no such engine, not installed, no such files, or files that the engine cannot read.
    """
    directory = Path(directory)
    engine = _choose(directory) if engine is None else _check(directory, engine)
    description = read_description(directory)
    try:
        return _CLASSES[engine](directory, description, threads, bf16)
    except UserError:
        raise
    except Exception as error:                                     # the engines' C++ errors have no common class
        lines = str(error).strip().splitlines() or ['no reason given']
        raise UserError(f'{engine} cannot read {directory} ({lines[0][:300]}); export the model again') from error


def files_of(directory, engine):
    """The paths of an engine's files in an export directory, or None where one is missing."""
    for names in FILES[engine]:
        paths = [Path(directory) / name for name in names]
        if all(path.is_file() for path in paths):
            return paths
    return None


def _choose(directory):
    present, installed = engines_of(directory), available()
    if not present:
        wanted = '; '.join(' + '.join(names) for engine in ENGINES for names in FILES[engine])
        raise UserError(f'{directory} is no whole export; wanted one of: {wanted}. Export the model again by tools/export.py.')
    for engine in FASTEST_FIRST:
        if engine in present and engine in installed:
            return engine
    raise UserError(f'{directory} is for {", ".join(present)}, of which none is installed. {install(present[0])}')


def _check(directory, engine):
    if engine not in ENGINES:
        raise UserError(f'the engine is {engine!r}; wanted one of {", ".join(ENGINES)}')
    if engine not in engines_of(directory):
        present = ', '.join(engines_of(directory)) or 'no engine'
        wanted = ' or '.join(' + '.join(names) for names in FILES[engine])
        raise UserError(f'{directory} has files for {present}; for {engine} it wants {wanted}. Export the model for it: '
                        'tools/export.py --format.')
    if engine not in available():
        raise UserError(f'{engine} is not installed. {install(engine)}')
    return engine


def install(engine):
    """How to install an engine, or what writes the format of that name, in a sentence."""
    if engine not in _EXTRAS:
        return 'Install paddlepaddle.'
    return f"Install it, in the clone of this library, by: pip install -e '.[{_EXTRAS[engine]}]'"


def read_description(directory):
    """The content of inference.yaml; {} where there is none, since the engines hardly need it."""
    path = Path(directory) / 'inference.yaml'
    try:
        content = yaml.safe_load(path.read_text(encoding='utf-8')) if path.is_file() else {}
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise UserError(f'{path} cannot be read as yaml: {" ".join(str(error).split())}') from None
    return content if isinstance(content, dict) else {}


def import_openvino():
    """The module openvino. The import of it is reported to a host on the internet, unless the package that does so is missing:
    so it seems for that moment."""
    telemetry = 'openvino_telemetry'
    before = sys.modules.get(telemetry)
    sys.modules[telemetry] = None
    try:
        return import_module('openvino')
    finally:
        del sys.modules[telemetry]
        if before:
            sys.modules[telemetry] = before


def onnx_options():
    """Options of an ONNX Runtime session that reports errors only."""
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return options


class _Engine:
    """What the engines have in common: `input`, and the check of what is given."""

    def __init__(self, directory, description):
        given = description.get('input', {})
        self.directory = directory
        self.input = {'dtype': given.get('dtype', 'float32'), 'layout': given.get('layout', 'NCHW')}

    def run(self, images):
        """(B, C, H, W) float32 or (B, H, W, C) uint8, see `input` -> all outputs, in the network's order."""
        images = np.asarray(images)
        if images.ndim != 4 or images.dtype != self.input['dtype']:
            raise UserError(f'images {images.shape} of {images.dtype} do not fit {self.directory}; wanted '
                            f'{self.input["layout"]} of {self.input["dtype"]}')
        return self._run(np.ascontiguousarray(images))


class PaddleInference(_Engine):
    """Each thread computes with a clone of its own, which shares the weights."""

    name = 'paddle_inference'

    def __init__(self, directory, description, threads=None, bf16=False, onednn=None):
        super().__init__(directory, description)
        from image_classification.deploy import inference
        self._inference = inference
        self._first = inference.create_predictor(directory, onednn, threads, bf16)
        self._lock, self._clones = threading.Lock(), threading.local()
        self._clones.own = self._first
        self.outputs = self._first.get_output_names()

    def _run(self, images):
        if not hasattr(self._clones, 'own'):
            with self._lock:
                self._clones.own = self._first.clone()
        return self._inference.run(self._clones.own, images)


class OnnxRuntime(_Engine):
    """A session of ONNX Runtime, which locks nothing and may be shared."""

    name = 'onnxruntime'

    def __init__(self, directory, description, threads=None, bf16=False):
        super().__init__(directory, description)
        import onnxruntime
        if bf16:
            raise UserError('onnxruntime does not compute in bfloat16 on a CPU; wanted openvino or paddle_inference')
        options = onnx_options()
        if threads:
            options.intra_op_num_threads = threads
        [path] = files_of(directory, self.name)
        self._session = onnxruntime.InferenceSession(str(path), options, providers=['CPUExecutionProvider'])
        [self._input] = [value.name for value in self._session.get_inputs()]
        self.outputs = [value.name for value in self._session.get_outputs()]

    def _run(self, images):
        return self._session.run(self.outputs, {self._input: images})


class OpenVino(_Engine):
    """A compiled model; each call makes an inference request of its own."""

    name = 'openvino'

    def __init__(self, directory, description, threads=None, bf16=False):
        super().__init__(directory, description)
        openvino = import_openvino()
        # Left alone, it computes in bfloat16 wherever the processor can.
        settings = {'INFERENCE_PRECISION_HINT': 'bf16' if bf16 else 'f32', 'PERFORMANCE_HINT': 'LATENCY'}
        if threads:
            settings['INFERENCE_NUM_THREADS'] = threads
        core = openvino.Core()
        model = core.read_model(str(files_of(directory, self.name)[0]))
        self.outputs = [output.any_name for output in model.outputs]   # compiling gives them other names
        self._model = core.compile_model(model, 'CPU', settings)
        self._clones = threading.local()

    def _run(self, images):
        if not hasattr(self._clones, 'request'):
            self._clones.request = self._model.create_infer_request()
        results = self._clones.request.infer({0: images}, share_inputs=True)
        return [results[output].copy() for output in self._model.outputs]


_ONEDNN = {'plain': False, 'onednn': True, 'convolutions': 'convolutions'}   # as `inference.create_predictor` takes it
_CLASSES = {kind.name: kind for kind in (PaddleInference, OnnxRuntime, OpenVino)}


def main(directory, inputs, *pairs):
    """For each pair of an engine and a file, run the engine on the arrays of INPUTS and write each output of each of them as
    <name in INPUTS>/<number of the output>/<its name>.

    An engine may also be 'paddle_inference/plain', 'paddle_inference/onednn' or 'paddle_inference/convolutions'.
    """
    for engine, outputs in zip(pairs[::2], pairs[1::2]):
        name, _, setting = engine.partition('/')
        if setting:
            opened = PaddleInference(directory, read_description(directory), onednn=_ONEDNN[setting])
        else:
            opened = open_engine(directory, name)
        found = {}
        with np.load(inputs) as images:                            # in the order in which they were saved
            for case in images.files:
                found.update({f'{case}/{i}/{name}': output
                              for i, (name, output) in enumerate(zip(opened.outputs, opened.run(images[case])))})
        np.savez(outputs, **found)


if __name__ == '__main__':
    tune_cpu()
    main(*sys.argv[1:])
