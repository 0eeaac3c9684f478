"""What the graph that is being traced is for."""
import contextlib

import paddle

_for_paddle = [False]


@contextlib.contextmanager
def for_paddle_inference():
    """Trace what Paddle Inference computes fastest where oneDNN has the convolutions only, not what other engines like."""
    _for_paddle[0] = True
    try:
        yield
    finally:
        _for_paddle[0] = False


def is_for_paddle_inference():
    """Whether such a graph is being traced now, in the newer program format."""
    return _for_paddle[0] and paddle.framework.in_pir_mode()
