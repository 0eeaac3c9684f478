"""OpenVINO, on the CPU."""
import sys
import threading
from importlib import import_module

from image_classification.deploy.engines.interface import Engine


class OpenVino(Engine):
    """A compiled model; each thread makes an inference request of its own."""

    name = module = extra = 'openvino'

    def __init__(self, directory, threads=None, bf16=False):
        super().__init__(directory, **directory.input())
        openvino = import_openvino()
        # Left alone, it computes in bfloat16 wherever the processor can.
        settings = {'INFERENCE_PRECISION_HINT': 'bf16' if bf16 else 'f32', 'PERFORMANCE_HINT': 'LATENCY'}
        if threads:
            settings['INFERENCE_NUM_THREADS'] = threads
        core = openvino.Core()
        model = core.read_model(str(directory.files(self.name)[0]))
        self.outputs = [output.any_name for output in model.outputs]   # compiling gives them other names
        self._model = core.compile_model(model, 'CPU', settings)
        self._requests = threading.local()

    def _run(self, images):
        if not hasattr(self._requests, 'own'):
            self._requests.own = self._model.create_infer_request()
        results = self._requests.own.infer({0: images}, share_inputs=True)
        return [results[output].copy() for output in self._model.outputs]


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
