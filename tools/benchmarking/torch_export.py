"""Export a network of timm or torchvision to ONNX with plain torch.onnx: python torch_export.py JOB FILE

This runs in a Python with PyTorch, onnx and onnxscript. JOB is as in `torch_side.py`. Only the batch size is dynamic. The
exporter gets no options beyond those that its users would give.
"""
import importlib
import json
import sys

import torch

from torch_side import LIBRARIES


def main(job, path):
    for package in ('onnx', 'onnxscript'):                         # the exporter's own error is a long traceback
        importlib.import_module(package)
    torch.manual_seed(0)
    model = LIBRARIES[job['who']](job).eval()
    images = torch.randn(2, job['channels'], job['size'], job['size'])
    with torch.no_grad():
        torch.onnx.export(model, (images,), path, dynamo=True, external_data=False,
                          dynamic_shapes=({0: torch.export.Dim('batch')},))


if __name__ == '__main__':
    main(json.loads(sys.argv[1]), sys.argv[2])
