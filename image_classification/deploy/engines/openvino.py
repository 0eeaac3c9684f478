"""OpenVINO on the CPU."""
import sys
import threading
from importlib import import_module

from image_classification.deploy.engines.interface import Engine


class OpenVino(Engine):
    """A compiled model. Each thread has its own inference request."""

    name = module = extra = 'openvino'

    def __init__(self, directory, threads=None, bf16=False):
        super().__init__(directory, **directory.input())
        openvino = import_openvino()
        # By default OpenVINO computes in bfloat16 if the processor can.
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
    """The module openvino. Importing it reports to a host on the internet if the package openvino_telemetry is installed, so
    this package is hidden during the import."""
    telemetry = 'openvino_telemetry'
    before = sys.modules.get(telemetry)
    sys.modules[telemetry] = None
    try:
        return import_module('openvino')
    finally:
        del sys.modules[telemetry]
        if before:
            sys.modules[telemetry] = before
