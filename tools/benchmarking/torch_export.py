"""A network of timm or torchvision as an ONNX file, by torch.onnx's own means: python torch_export.py JOB FILE

It runs in a Python that has PyTorch, onnx and onnxscript. JOB is that of `torch_side.py`. The batch size is free, the rest
fixed: the exporter is told no more than what its users tell it.
"""
import importlib
import json
import sys

import torch

from torch_side import LIBRARIES


def main(job, path):
    for package in ('onnx', 'onnxscript'):                         # the exporter would name the first one in a long traceback
        importlib.import_module(package)
    torch.manual_seed(0)
    model = LIBRARIES[job['who']](job).eval()
    images = torch.randn(2, job['channels'], job['size'], job['size'])
    with torch.no_grad():
        torch.onnx.export(model, (images,), path, dynamo=True, external_data=False,
                          dynamic_shapes=({0: torch.export.Dim('batch')},))


if __name__ == '__main__':
    main(json.loads(sys.argv[1]), sys.argv[2])
