"""ONNX Runtime on the CPU."""
from importlib.util import find_spec

from image_classification.deploy.engines.interface import Engine
from image_classification.errors import UserError


class OnnxRuntime(Engine):
    """An ONNX Runtime session, which threads may share without a lock."""

    name, module = 'onnxruntime', 'onnxruntime'
    extra = 'onnx' if find_spec('paddle') else 'onnxruntime'       # the latter installs what runs a file, not what writes one

    def __init__(self, directory, threads=None, bf16=False):
        super().__init__(directory, **directory.input())
        if bf16:
            raise UserError('onnxruntime does not compute in bfloat16 on a CPU; wanted openvino or paddle_inference')
        options = session_options()
        if threads:
            options.intra_op_num_threads = threads
        [path] = directory.files(self.name)
        self._session = open_session(path, options)
        [self._input] = [value.name for value in self._session.get_inputs()]
        self.outputs = [value.name for value in self._session.get_outputs()]

    def _run(self, images):
        return self._session.run(self.outputs, {self._input: images})


def session_options():
    """Options for a session that logs errors only."""
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return options


def open_session(model, options):
    """A CPU session for an ONNX file or its bytes.

    Float layers of a quantised file stay float. By default ONNX Runtime rounds their weights, too, with one scale for all
    channels.
    """
    import onnxruntime
    model = model if isinstance(model, bytes) else str(model)
    return onnxruntime.InferenceSession(model, options, providers=['CPUExecutionProvider'],
                                        disabled_optimizers=['WeightBiasQuantization'])
