"""From a command line to trainings in one process or several."""
from image_classification.config import argument_parser, config_from_args
from image_classification.engine import distributed
from image_classification.engine.trainer import run
from image_classification.errors import UserError, exit_with_message


@exit_with_message
def single(argv=None):
    """One process on one device: the GPU where there is one, else the CPU."""
    args = argument_parser('Train or evaluate a model on one device.').parse_args(argv)
    if args.ngpus not in (-1, 1):
        raise UserError(f'-ngpus is {args.ngpus}; main_single_gpu.py runs one process. Use main_multi_gpu.py.')
    run(config_from_args(args), distributed.join_group())


@exit_with_message
def multi(argv=None):
    """One process per device, started here or by `python -m paddle.distributed.launch`; at one device, this process."""
    args = argument_parser('Train or evaluate a model on all devices.').parse_args(argv)
    cfg = config_from_args(args)
    processes = 1 if distributed.under_launcher() else distributed.world_size_for(args.ngpus)
    if processes == 1:
        run(cfg, distributed.join_group())
    else:
        distributed.spawn(_worker, (cfg,), processes)


def _worker(cfg):
    """A spawned process."""
    exit_with_message(run)(cfg, distributed.join_group())
