"""From a trained network to one that runs elsewhere: static export, prediction, and what a network costs.

`export` writes what `static` traces, `description` says and `formats/` convert, and `verify` compares it with the network; `trial` and
the formats are programs of their own, which `child` starts. What comes of it is an `export_directory`. `engines/` run it,
`classifier` and `predictor` turn pictures into classes by it, `serving/` does so over HTTP. `quantize` makes 8 bits of it, of which
`layer_losses` says what they cost. `complexity` counts.
"""
from image_classification.deploy.predictor import Predictor

__all__ = ['Predictor']
