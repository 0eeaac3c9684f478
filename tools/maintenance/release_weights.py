"""Write the weights of a finished training into weights/, where a tag of PUBLISHED.WEIGHTS names them by FILE:

    python tools/maintenance/release_weights.py RUN weights/mobileformer_26m-mnist.safetensors

They are those that the training evaluated, in float16: half the size. The tool prints the largest change of the logits, and
refuses weights that float16 cannot hold. Paths of the machine that trained them are left out.
"""
import argparse
from pathlib import Path

import numpy as np
import paddle

from image_classification.checkpoint import load_network, write_network
from image_classification.config import changed
from image_classification.config.defaults import DEFAULTS
from image_classification.engine.best import BEST
from image_classification.errors import UserError, exit_with_message

_OF_THE_MACHINE = ('DATA.DATA_PATH', 'SAVE', 'RESUME', 'PRETRAINED')


def default_of(key):
    node = DEFAULTS
    for part in key.split('.'):
        node = node[part]
    return node


def release(run, target):
    """Write `target`; (the largest difference of the logits of random images, their standard deviation)."""
    if target.exists():
        raise UserError(f'{target} exists; wanted a new file')
    network, class_names = load_network(run / BEST)
    images = paddle.randn([8, network.config.MODEL.IN_CHANNELS, *2 * [network.config.DATA.IMAGE_SIZE]])
    before = network(images).numpy()
    for name, tensor in network.state_dict().items():
        if (np.abs(tensor.numpy()) > np.finfo(np.float16).max).any():
            raise UserError(f'{name} of {run} has numbers beyond float16; wanted weights that it can hold')
    cfg = changed(network.config, {key: default_of(key) for key in _OF_THE_MACHINE})
    write_network(target, network, cfg, class_names, np.float16)
    after = load_network(target)[0](images).numpy()
    return float(np.abs(after - before).max()), float(before.std())


@exit_with_message
def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.split(':')[0])
    parser.add_argument('run', type=Path)
    parser.add_argument('target', type=Path)
    args = parser.parse_args(argv)
    difference, deviation = release(args.run, args.target)
    size = args.target.stat().st_size / 2**20
    print(f'{args.target}: {size:.1f} MiB; logits change by {difference:.1e} at most, of a deviation of {deviation:.2g}')


if __name__ == '__main__':
    main()
