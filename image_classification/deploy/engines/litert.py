"""LiteRT (formerly TensorFlow Lite) on the CPU."""
import os
import threading

import numpy as np

from image_classification.deploy.engines.interface import Engine, by_number
from image_classification.errors import UserError


class LiteRt(Engine):
    """A LiteRT interpreter with XNNPACK. It serves one thread at a time.

    The file itself takes NHWC; `run` transposes NCHW images.
    """

    name, module, extra = 'litert', 'ai_edge_litert', 'litert'

    def __init__(self, directory, threads=None, bf16=False):
        super().__init__(directory, **directory.input())
        if bf16:
            raise UserError('litert computes in float32 here; wanted openvino or paddle_inference for bfloat16')
        from ai_edge_litert.interpreter import Interpreter
        self._interpreter = Interpreter(str(directory.files(self.name)[0]), num_threads=threads or os.cpu_count() or 1)
        self._interpreter.allocate_tensors()
        self._lock = threading.Lock()
        [given] = self._interpreter.get_input_details()
        [signature] = self._interpreter.get_signature_list().values()
        runner = self._interpreter.get_signature_runner()
        details = runner.get_output_details()
        self.outputs = sorted(signature['outputs'], key=by_number)        # the dictionary is in alphabetical order
        self._given, self._numbers = given['index'], [details[name]['index'] for name in self.outputs]

    def _run(self, images):
        if self.input['layout'] == 'NCHW':
            images = np.ascontiguousarray(images.transpose(0, 2, 3, 1))
        with self._lock:
            self._interpreter.set_tensor(self._given, images)
            self._interpreter.invoke()
            return [self._interpreter.get_tensor(number) for number in self._numbers]
