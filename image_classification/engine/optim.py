"""Build the optimizer of a configuration."""
import paddle
from paddle.nn import ClipGradByGlobalNorm, ClipGradByValue
from paddle.nn.clip import ClipGradBase

from image_classification.config import check_values
from image_classification.cpu import operators
from image_classification.cpu.paddle_internals import can_share_memory
from image_classification.cpu.training_step import LongAdamW
from image_classification.engine.flat import FlatOptimizer
from image_classification.engine.freeze import is_below
from image_classification.engine.layer_decay import rate_ratios
from image_classification.engine.processes.distributed import gpu_count


def decayed_parameters(model, no_decay_1d=True):
    """Names of the parameters with weight decay: all but norms, biases (one axis) and the model's `no_weight_decay()`."""
    exempt = model.no_weight_decay() if no_decay_1d else set()
    least = 2 if no_decay_1d else 0                                # fewest axes of a parameter that decays
    return {name for name, parameter in model.named_parameters() if parameter.ndim >= least and name not in exempt}


def takes_long_arrays(cfg):
    """Whether the optimizer is a `FlatOptimizer`, which also averages the gradients over all processes.

    On a CPU, hundreds of calls for small arrays cost more than the arithmetic. A GPU does not wait for them, and needs aligned
    arrays.
    """
    by_unit = cfg.TRAIN.GRAD_CLIP and cfg.TRAIN.GRAD_CLIP_MODE == 'agc'              # agc needs the single arrays
    return can_share_memory() and not gpu_count() and not by_unit


def build_optimizer(cfg, model, average=lambda gradients: None):
    """AdamW, SGD with momentum or RMSprop over the trainable parameters. The trainer sets the rate at each step.

    Args:
        average: see `FlatOptimizer`; other optimizers do not use it.
    """
    check_values(cfg, 'TRAIN.')
    train, name = cfg.TRAIN, cfg.TRAIN.OPTIMIZER.NAME.lower()
    _scale_rates(model, train.LAYER_DECAY, train.HEAD_LR_SCALE, cfg.DATA.IMAGE_SIZE)
    decayed, clip = decayed_parameters(model, train.NO_DECAY_1D), _clip(train, model)

    def make(parameters, decayed):
        shared = {'learning_rate': train.BASE_LR, 'parameters': parameters, 'weight_decay': train.WEIGHT_DECAY,
                  'grad_clip': clip}
        return OPTIMIZERS[name](train.OPTIMIZER, decayed, shared)

    parameters = [parameter for parameter in model.parameters() if not parameter.stop_gradient]
    global_names = {parameter.name for name, parameter in model.named_parameters() if name in decayed}
    if takes_long_arrays(cfg):
        return FlatOptimizer(make, parameters, global_names, average)
    return make(parameters, global_names)


def _adamw(keys, decayed, shared):
    beta1, beta2 = keys.BETAS
    long = all(parameter.ndim == 1 and operators.serves(parameter) for parameter in shared['parameters'])
    kind = LongAdamW if long else paddle.optimizer.AdamW
    return kind(beta1=beta1, beta2=beta2, epsilon=keys.EPS, apply_decay_param_fun=decayed.__contains__, **shared)


def _sgd(keys, decayed, shared):
    _spare(shared['parameters'], decayed)
    return paddle.optimizer.Momentum(momentum=keys.MOMENTUM, use_nesterov=keys.NESTEROV, **shared)


def _rmsprop(keys, decayed, shared):
    _spare(shared['parameters'], decayed)
    return RMSpropTF(rho=keys.ALPHA, epsilon=keys.EPS, momentum=keys.MOMENTUM, **shared)


# {name: function (cfg.TRAIN.OPTIMIZER, global names of decayed parameters, keywords for all optimizers) -> optimizer}
OPTIMIZERS = {'adamw': _adamw, 'sgd': _sgd, 'rmsprop': _rmsprop}


def _spare(parameters, decayed):
    """Switch L2 decay off for all other parameters. A parameter's own regularizer overrides the optimizer's."""
    for parameter in parameters:
        if parameter.name not in decayed:                          # parameter groups would be clipped separately
            parameter.regularizer = paddle.regularizer.L2Decay(0.0)


def _scale_rates(model, layer_decay, head_scale, image_size):
    """Set the rate factor of each parameter. Paddle's optimizers multiply the rate by it, and AdamW also its weight decay."""
    ratios = rate_ratios(model, layer_decay, image_size) if layer_decay < 1 else {}
    for name, parameter in model.named_parameters():
        ratio = ratios.get(name, 1.0) * (head_scale if is_below(name, model.classifier_layers) else 1.0)
        if ratio != 1:
            parameter.optimize_attr['learning_rate'] = ratio


class RMSpropTF(paddle.optimizer.RMSProp):
    """RMSprop as in TensorFlow: the average of squares starts at 1, so that the first steps are small.

    s = rho * s + (1 - rho) * g^2;  v = momentum * v + rate * g / sqrt(s + epsilon);  w = w - v

    Paddle's RMSProp has the same formula, with rate and epsilon in the same places, but starts at 0.
    """

    def _add_accumulator(self, name, param, *args, **kwargs):
        if name == self._mean_square_acc_str:
            kwargs['fill_value'] = 1.0
        return super()._add_accumulator(name, param, *args, **kwargs)


def _clip(train, model):
    """The object that clips gradients before each step, or None."""
    limit, mode = train.GRAD_CLIP, train.GRAD_CLIP_MODE
    if not limit:
        return None
    return {'norm': ClipGradByGlobalNorm, 'value': ClipGradByValue}[mode](limit) if mode != 'agc' else ClipByUnit(limit, model)


class ClipByUnit(ClipGradBase):
    """Adaptive gradient clipping, https://arxiv.org/abs/2102.06171: limits the gradient's norm to `limit` times the weights'.

    Norms are taken per unit, i.e. over the weights of one output channel; over the whole array if it has one axis. Norms of
    weights count as at least 1e-3, so that weights at zero can change. The classifier is not clipped, as the authors
    recommend.
    """

    def __init__(self, limit, model):
        super().__init__()
        classifier = tuple(f'{layer}.' for layer in model.classifier_layers)
        linear = {id(layer.weight) for layer in model.sublayers() if isinstance(layer, paddle.nn.Linear)}
        self.limit, self.axes = limit, {}                          # {global name: axes of a unit}
        for name, parameter in model.named_parameters():
            if not name.startswith(classifier):
                transposed = id(parameter) in linear               # (inputs, outputs); all others have outputs first
                own = list(range(1, parameter.ndim)) if parameter.ndim > 1 else list(range(parameter.ndim))
                self.axes[parameter.name] = [0] if transposed else own

    @paddle.no_grad()
    def _dygraph_clip(self, params_grads):
        return [(parameter, grad if grad is None or parameter.name not in self.axes else self._clipped(parameter, grad))
                for parameter, grad in params_grads]

    def _clipped(self, parameter, grad):
        axes = self.axes[parameter.name]
        largest = _norm(parameter, axes).clip(min=1e-3) * self.limit
        norm = _norm(grad, axes)
        return paddle.where(norm < largest, grad, grad * (largest / norm.clip(min=1e-6)))


def _norm(array, axes):
    return array.square().sum(axes, keepdim=True).sqrt()
