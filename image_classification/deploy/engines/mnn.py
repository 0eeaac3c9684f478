"""MNN on the CPU."""
import contextlib
import os
import sys
import threading

import numpy as np

from image_classification.deploy.engines.interface import Engine, by_number
from image_classification.errors import UserError

_WINOGRAD_MEMORY_LEVEL, _SMALL_BLOCKS = 3, 2                       # a hint of MNN::Interpreter, and its value


class Mnn(Engine):
    """An MNN session in float32. It serves one thread at a time.

    By default MNN computes 3x3 convolutions by large Winograd blocks, whose rounding errors add up in deep networks: an untrained
    PP-HGNetV2-B1 is off by 4e-4 of its deviation, with small blocks by 7e-6, and takes 4 % longer.
    """

    name, module, extra = 'mnn', 'MNN', 'mnn'

    def __init__(self, directory, threads=None, bf16=False):
        super().__init__(directory, **directory.input())
        if bf16:
            raise UserError('mnn computes in float32 here; wanted openvino or paddle_inference for bfloat16')
        with _silence():                                           # MNN prints the processor's features
            import MNN
            self._net = MNN.Interpreter(str(directory.files(self.name)[0]))
            settings = {'backend': 'CPU', 'precision': 'high', 'numThread': threads or os.cpu_count() or 1}
            self._net.setSessionHint(_WINOGRAD_MEMORY_LEVEL, _SMALL_BLOCKS)
            self._session = self._net.createSession(settings)
        self._mnn, self._lock = MNN, threading.Lock()
        self._input = self._net.getSessionInput(self._session)
        found = self._net.getSessionOutputAll(self._session)
        self.outputs = sorted(found, key=by_number)               # the dictionary is in alphabetical order

    def _run(self, images):
        with self._lock:
            kind, layout = self._mnn.Halide_Type_Float, self._mnn.Tensor_DimensionType_Caffe
            self._input.copyFrom(self._mnn.Tensor(images.shape, kind, images, layout))
            self._net.runSession(self._session)
            return [self._read(name) for name in self.outputs]

    def _read(self, name):
        output = self._net.getSessionOutput(self._session, name)
        shape = output.getShape()
        array = np.empty(shape, np.float32)
        host = self._mnn.Tensor(shape, self._mnn.Halide_Type_Float, array, self._mnn.Tensor_DimensionType_Caffe)
        output.copyToHostTensor(host)
        return np.array(host.getNumpyData(), np.float32).reshape(shape)


@contextlib.contextmanager
def _silence():
    """Discard what C++ code prints on standard output within this context: commands print JSON there."""
    sys.stdout.flush()
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)
