"""ncnn on the CPU."""
import numpy as np

from image_classification.deploy.engines.interface import Engine
from image_classification.errors import UserError


class Ncnn(Engine):
    """An ncnn network in float32. Each call creates its own extractor."""

    name = module = extra = 'ncnn'

    def __init__(self, directory, threads=None, bf16=False):
        super().__init__(directory, **directory.input())
        if bf16:
            raise UserError('ncnn computes in float32 here; wanted openvino or paddle_inference for bfloat16')
        import ncnn
        self._ncnn, self._net = ncnn, ncnn.Net()
        options = self._net.opt
        options.use_fp16_packed = options.use_fp16_storage = options.use_fp16_arithmetic = options.use_bf16_storage = False
        if threads:
            options.num_threads = threads
        param, weights = directory.files(self.name)
        if self._net.load_param(str(param)) or self._net.load_model(str(weights)):
            raise UserError(f'ncnn cannot read {param} and {weights.name}; export the model again')
        [self._input] = self._net.input_names()
        # The other outputs, whose names are numbers, are tensors that no layer reads.
        given = [name for name in self._net.output_names() if name.startswith('out')]
        self._outputs = sorted(given, key=lambda name: int(name.removeprefix('out')))
        described = directory.read_if_there().get('output', {}).get('names')   # missing until the export is verified
        self.outputs = described or self._outputs

    def _run(self, images):
        extractor = self._net.create_extractor()
        extractor.input(self._input, self._ncnn.Mat(images[0]).clone())        # without clone, the Mat may not own its memory
        found = []
        for name in self._outputs:
            failed, output = extractor.extract(name)
            if failed:
                raise UserError(f'ncnn cannot compute {name} of {self._where}; export the model again')
            found.append(np.array(output, np.float32)[None])       # ncnn has no batch dimension
        return found
