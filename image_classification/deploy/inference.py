"""Paddle Inference, on the CPU: `run(create_predictor(DIRECTORY), images)` gives the outputs of an export.

`engines.open_engine` does the same for every engine.
"""
import os

import numpy as np
from paddle import inference

from image_classification.deploy.engines import files_of, read_description

WEIGHTS = 'inference.pdiparams'


def create_predictor(directory, onednn=None, threads=None, bf16=False):
    """The Paddle Inference predictor of an export directory; its only input is `image`.

    Args:
        onednn: use it; by default as inference.yaml says, which is yes unless the export failed with it and works without.
        threads: by default as many as the machine has cores.
        bf16: let oneDNN compute in bfloat16.
    """
    program, weights = files_of(directory, 'paddle_inference')
    if onednn is None:
        onednn = read_description(directory).get('engines', {}).get('paddle_inference', {}).get('onednn', True)
    config = inference.Config(str(program), str(weights))
    config.disable_gpu()
    config.disable_glog_info()
    config.set_cpu_math_library_num_threads(threads or os.cpu_count() or 1)
    if onednn:
        config.enable_mkldnn()
        if bf16:
            config.enable_mkldnn_bfloat16()
    else:
        config.disable_mkldnn()
    return inference.create_predictor(config)


def run(predictor, images):
    """(B, C, H, W) float32 -> list of all outputs, in the network's order; a classifier's only one is (B, num_classes)."""
    predictor.get_input_handle('image').copy_from_cpu(np.ascontiguousarray(images))
    predictor.run()
    return [predictor.get_output_handle(name).copy_to_cpu() for name in predictor.get_output_names()]
