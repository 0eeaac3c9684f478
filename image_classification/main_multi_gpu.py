"""Train or evaluate on all devices: python main_multi_gpu.py -cfg configs/mobileformer_26m.yaml (-h lists the flags)."""
import signal
import sys

if __name__ in ('__main__', '__mp_main__'):                        # __mp_main__: in child processes
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)               # no traceback during the imports below
    from pathlib import Path
    # Replaces this file's directory, whose modules would hide others of the same names.
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    import paddle_mobile_backbones  # noqa: F401  (ensures that `image_classification` is this library)
    from image_classification import errors
    errors.expect_signals()
if __name__ == '__main__':
    from image_classification.cpu import settings
    settings.quieten()                                             # both before Paddle is imported
    settings.tune_cpu()
    from image_classification.engine import launch
    launch.multi()
