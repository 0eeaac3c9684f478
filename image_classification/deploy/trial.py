"""Runs an export on given inputs. This is a program of its own, so that `verify` survives the crash of an engine.

python -m image_classification.deploy.trial DIRECTORY INPUTS.npz ENGINE OUTPUTS.npz [ENGINE OUTPUTS.npz ...]
"""
import sys

import numpy as np

from image_classification.cpu.settings import tune_cpu
from image_classification.deploy.engines.choice import open_engine
from image_classification.deploy.engines.paddle_inference import PaddleInference
from image_classification.deploy.export_directory import ExportDirectory

_ONEDNN = {'plain': False, 'onednn': True, 'convolutions': 'convolutions'}   # the argument of `create_predictor`


def main(directory, inputs, *pairs):
    """For each pair of an engine and a file, run the engine on the arrays of INPUTS and write its outputs to the file. Their
    keys are <name in INPUTS>/<number of the output>/<name of the output>.

    An engine may also be 'paddle_inference/plain', 'paddle_inference/onednn' or 'paddle_inference/convolutions'.
    """
    for engine, outputs in zip(pairs[::2], pairs[1::2]):
        name, _, setting = engine.partition('/')
        if setting:
            opened = PaddleInference(ExportDirectory(directory), onednn=_ONEDNN[setting])
        else:
            opened = open_engine(directory, name)
        found = {}
        with np.load(inputs) as images:                            # in the order in which they were saved
            for case in images.files:
                found.update({f'{case}/{i}/{name}': output
                              for i, (name, output) in enumerate(zip(opened.outputs, opened.run(images[case])))})
        np.savez(outputs, **found)


def read_outputs(file):
    """Read a file that `main` has written: {input name: {output name: array}}."""
    cases = {}
    with np.load(file) as arrays:
        for key in arrays.files:
            case, _, name = key.split('/', 2)
            cases.setdefault(case, {})[name] = arrays[key]
    return cases


if __name__ == '__main__':
    tune_cpu()
    main(*sys.argv[1:])
