"""Converts a program for Paddle-Lite, or runs it there. Runs in Python 3.7, so it imports nothing from this library.

python3.7 lite_process.py convert PDMODEL PDIPARAMS TARGETS OUT      writes OUT.nb for TARGETS, arm or x86
python3.7 lite_process.py run FILE.nb                                answers on standard output until standard input ends

`run` first writes the number of outputs. It then reads one array after another, and writes all outputs for each. Arrays are in
the format of numpy's files.
"""
import io
import os
import struct
import sys

import numpy as np


def convert(program, weights, targets, out):
    from paddlelite.lite import Opt
    opt = Opt()
    opt.set_model_file(program)
    opt.set_param_file(weights)
    opt.set_model_type('naive_buffer')
    opt.set_valid_places(targets)
    opt.set_optimize_out(out)
    opt.run()
    if not os.path.isfile(out + '.nb'):
        raise SystemExit('ValueError: the opt of Paddle-Lite wrote no file')


def run(file):
    answers = os.fdopen(os.dup(1), 'wb')
    os.dup2(2, 1)                                                  # Paddle-Lite logs to standard output
    from paddlelite.lite import MobileConfig, create_paddle_predictor
    config = MobileConfig()
    config.set_model_from_file(file)
    predictor = create_paddle_predictor(config)
    names = predictor.get_output_names()
    write(answers, [np.array(len(names))])
    while True:
        array = read(sys.stdin.buffer)
        if array is None:
            return
        predictor.get_input(0).from_numpy(array)
        predictor.run()
        write(answers, [predictor.get_output(i).numpy() for i in range(len(names))])


def write(stream, arrays):
    """Write each array, preceded by its length in bytes."""
    for array in arrays:
        content = io.BytesIO()
        np.save(content, array, allow_pickle=False)
        stream.write(struct.pack('<q', len(content.getvalue())) + content.getvalue())
    stream.flush()


def read(stream):
    """Read an array that `write` has written; None at the end."""
    head = stream.read(8)
    if len(head) < 8:
        return None
    return np.load(io.BytesIO(stream.read(struct.unpack('<q', head)[0])), allow_pickle=False)


if __name__ == '__main__':
    {'convert': convert, 'run': run}[sys.argv[1]](*sys.argv[2:])
