"""Deployment of a trained network: static export, prediction, serving, and counts of operations.

- `export` writes an `export_directory`. `static` traces the network, `formats/` convert it, and `description` makes its
  inference.yaml. `verify` compares the result with the network.
- `child` starts `trial` and the converters in processes of their own.
- `engines/` run an export. `classifier` and `predictor` classify pictures with it, `serving/` does so over HTTP.
- `quantize` converts an export to 8 bits; `layer_losses` says how much precision each layer loses.
- `complexity` counts operations and parameters.
"""
from image_classification.deploy.predictor import Predictor

__all__ = ['Predictor']
