"""Paddle Inference, on the CPU: `run(create_predictor(DIRECTORY), images)` gives the outputs of an export.

As a program it runs an export over given inputs, for `verify.py`, which must survive its crashes:
python -m image_classification.deploy.inference DIRECTORY onednn|plain INPUTS.npz OUTPUTS.npz
"""
import os
import sys
from pathlib import Path

import numpy as np
from paddle import inference

PROGRAMS = ('inference.json', 'inference.pdmodel')                 # by format: today's, the older one
WEIGHTS = 'inference.pdiparams'


def create_predictor(directory, onednn=True):
    """The Paddle Inference predictor of an export directory; its only input is `image`."""
    program = next(path for path in (Path(directory) / name for name in PROGRAMS) if path.is_file())
    config = inference.Config(str(program), str(program.with_name(WEIGHTS)))
    config.disable_gpu()
    config.disable_glog_info()
    config.set_cpu_math_library_num_threads(os.cpu_count() or 1)
    if onednn:
        config.enable_mkldnn()
    else:
        config.disable_mkldnn()
    return inference.create_predictor(config)


def run(predictor, images):
    """(B, C, H, W) float32 -> list of all outputs, in the network's order; a classifier's only one is (B, num_classes)."""
    predictor.get_input_handle('image').copy_from_cpu(np.ascontiguousarray(images))
    predictor.run()
    return [predictor.get_output_handle(name).copy_to_cpu() for name in predictor.get_output_names()]


def main(directory, setting, inputs, outputs):
    """Write each output of each array of INPUTS as <name in INPUTS>/<name of the output>."""
    predictor = create_predictor(directory, onednn=setting == 'onednn')
    names, found = predictor.get_output_names(), {}
    with np.load(inputs) as images:                                # in the order in which they were saved
        for case in images.files:
            found.update({f'{case}/{name}': output for name, output in zip(names, run(predictor, images[case]))})
    np.savez(outputs, **found)


if __name__ == '__main__':
    main(*sys.argv[1:])
