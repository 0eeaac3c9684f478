"""Number and devices of the training processes, and communication between them."""
import contextlib
import io
import os
import socket
from dataclasses import dataclass

import numpy as np
import paddle
import paddle.distributed as dist

from image_classification.engine.processes.watchdog import Unwatched
from image_classification.errors import TemporaryError, UserError


@dataclass(frozen=True)
class Group:
    """This process within all processes of a training."""
    rank: int = 0
    world_size: int = 1
    watch: Unwatched = Unwatched()                                 # is told about progress, see `watchdog.py`

    @property
    def is_main(self):
        return self.rank == 0

    def mean(self, value):
        """Mean of a number over all processes."""
        return self.sum([value])[0] / self.world_size

    def sum(self, values):
        """Elementwise sums of a list of numbers over all processes, as floats."""
        if self.world_size == 1:
            return [float(value) for value in values]
        total = paddle.to_tensor(values, dtype='float64')
        dist.all_reduce(total)
        return total.tolist()

    def broadcast_(self, tensors):
        """Replace each tensor by that of the main process."""
        for tensor in tensors if self.world_size > 1 else ():
            dist.broadcast(tensor, 0)

    def average_(self, tensors):
        """Replace each tensor by its mean over all processes. For gradients and running statistics, which each process computes
        from its own images."""
        if self.world_size > 1:
            for tensor in tensors:
                dist.all_reduce(tensor)
                tensor.set_value(tensor / self.world_size)

    def gather(self, tensors):
        """[[array, ...] of process 0, [array, ...] of process 1, ...] for float32 tensors of the same shapes everywhere."""
        if not tensors:
            return [[]]
        own = paddle.concat([tensor.flatten() for tensor in tensors])
        parts = [own] if self.world_size == 1 else []
        if self.world_size > 1:
            dist.all_gather(parts, own)
        ends = np.cumsum([tensor.size for tensor in tensors])[:-1]
        return [[piece.reshape(tensor.shape) for piece, tensor in zip(np.split(part.numpy(), ends), tensors)] for part in parts]

    def gather_objects(self, value):
        """[value of process 0, value of process 1, ...], for any value that can be pickled."""
        if self.world_size == 1:
            return [value]
        values = []
        dist.all_gather_object(values, value)
        return values


def gpu_count():
    return paddle.device.cuda.device_count() if paddle.is_compiled_with_cuda() else 0


def world_size_for(ngpus):
    """Number of processes for -ngpus on this machine. -1 gives the number of GPUs; without a GPU that is 0: to be chosen."""
    gpus = gpu_count()
    if ngpus == -1:
        return gpus
    if ngpus < 1 or (gpus and ngpus > gpus):
        raise UserError(f'-ngpus is {ngpus}; wanted -1, or {f"1 to {gpus}" if gpus else "1 or more processes on the CPU"}')
    return ngpus


def check_start_port(count):
    """If FLAGS_START_PORT is set, raise an error unless it can be used: Paddle itself would abort. From this number on, Paddle
    gives each process a port."""
    text = os.environ.get('FLAGS_START_PORT')
    if text is None:
        return
    if not text.strip().isdecimal() or not 0 < int(text) <= 65536 - count:
        raise UserError(f'FLAGS_START_PORT is {text!r}; wanted the first of {count} ports, 1 to {65536 - count}. Without the '
                        'variable, free ones are taken')
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            server.bind(('', int(text)))
        except OSError as error:
            raise TemporaryError(f'port {text.strip()} (FLAGS_START_PORT) cannot be used: {error.strerror}. Set another one; '
                                 'without the variable, a free one is taken') from None


def under_launcher():
    """Whether `python -m paddle.distributed.launch` started this process as one of several."""
    return int(os.environ.get('PADDLE_TRAINERS_NUM', '1')) > 1


def join_group():
    """Choose this process's device (the GPU if there is one), and join the other processes, if there are any."""
    if not gpu_count():
        paddle.set_device('cpu')
        os.environ['PADDLE_DISTRI_BACKEND'] = 'gloo'
    if not under_launcher():
        return Group()
    with contextlib.redirect_stderr(io.StringIO()):                # Paddle lists the flags that it has changed
        dist.init_parallel_env()
    return Group(dist.get_rank(), dist.get_world_size())
