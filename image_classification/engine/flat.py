"""Join many small tensors into a few long arrays. An optimizer or a moving average then makes a few calls, not hundreds."""
import numpy as np
import paddle

from image_classification.cpu.paddle_internals import coalesce, create_state, gradient_of, share_memory
from image_classification.cpu.training_step import Joiner


class FlatOptimizer:
    """Runs a Paddle optimizer on a few long parameters in place of the network's own. Results are the same, because AdamW, SGD
    and RMSprop treat each number alike. From the first step on, the network's parameters are views of the long ones.

    Parameters in one array have the same rate factor, the same decay and the same number of steps so far. `state_dict` and
    `set_state_dict` use the network's parameters.
    Args:
        make: (parameters, names of those that decay) -> optimizer.
        parameters: the network's parameters.
        decayed: global names of the parameters with weight decay.
        average: called in each step with the gradients, a list of long arrays; replaces each in place by its mean over all
            processes.
    """

    def __init__(self, make, parameters, decayed, average=lambda gradients: None):
        self.make, self.parameters, self.decayed, self.average = make, parameters, decayed, average
        self.rate = make(parameters, decayed).get_lr()             # also finds errors in the configuration early
        self.state, self.groups, self.joiners, self.optimizer, self.trained, self.gathered = {}, [], [], None, None, None

    def set_lr(self, rate):
        self.rate = rate

    def get_lr(self):
        return self.rate

    @paddle.no_grad()
    def gather(self):
        """The gradients as a few long arrays. `step` will use them, unless they are cleared before."""
        gradients = {id(parameter): gradient_of(parameter) for parameter in self.parameters if not parameter.stop_gradient}
        trained = [parameter for parameter in self.parameters if gradients.get(id(parameter)) is not None]
        keys = [id(parameter) for parameter in trained]
        if trained and keys != self.trained:                       # the first step, or other parameters learn now
            self._arrange(trained)
            self.trained = keys
        groups = self.groups if trained else []
        self.gathered = [join([gradients[id(parameter)] for parameter in members])
                         for join, (_, members) in zip(self.joiners, groups)]
        return self.gathered

    @paddle.no_grad()
    def step(self):
        gathered = self.gather() if self.gathered is None else self.gathered
        if not gathered:
            return
        self.average(gathered)
        for (flat, _), gradient in zip(self.groups, gathered):
            flat.grad = gradient
        self.optimizer.set_lr(self.rate)
        self.optimizer.step()
        self.gathered = None
        for flat, _ in self.groups:
            flat.clear_gradient(False)

    def clear_grad(self):
        self.gathered = None
        for parameter in self.parameters:
            parameter.clear_gradient(False)

    def state_dict(self):
        """{<parameter>_<accumulator>_0: tensor of the parameter's shape, or of one number}, as in Paddle's optimizers."""
        return {f'{name}_{key}': value for name, known in self._known().items() for key, value in known.items()}

    def set_state_dict(self, state):
        names = {parameter.name for parameter in self.parameters}
        self.state, self.groups, self.optimizer, self.trained, self.gathered = {}, [], None, None, None
        for whole, value in state.items():
            name = next(name for name in _beginnings(whole) if name in names)
            self.state.setdefault(name, {})[whole[len(name) + 1:]] = value

    def _known(self):
        """{parameter: {accumulator: tensor}}. Accumulators' names end in Paddle's number."""
        known, own = dict(self.state), self.optimizer.state_dict() if self.optimizer else {}
        for flat, members in self.groups:
            known.update((parameter.name, {}) for parameter in members)
            for whole, value in own.items():
                key = whole[len(flat.name) + 1:]
                if whole == f'{flat.name}_{key}':
                    parts = [value] * len(members) if _is_count(key) else value.split([one.size for one in members])
                    for parameter, part in zip(members, parts):
                        known[parameter.name][key] = part if _is_count(key) else part.reshape(parameter.shape)
        return known

    def _arrange(self, parameters):
        """Join the parameters and their optimizer state into long arrays."""
        known, alike = self._known(), {}
        for parameter in parameters:
            counts = [(key, value.item() if _is_count(key) else None) for key, value in known.get(parameter.name, {}).items()]
            key = (parameter.dtype, parameter.optimize_attr['learning_rate'], parameter.name in self.decayed, *sorted(counts))
            alike.setdefault(key, []).append(parameter)
        self.state = {name: values for name, values in known.items() if name not in {one.name for one in parameters}}
        self.groups = [(_flat_parameter(members), members) for members in alike.values()]
        self.joiners = [Joiner() for _ in self.groups]
        self.optimizer = self.make([flat for flat, _ in self.groups],
                                   {flat.name for flat, members in self.groups if members[0].name in self.decayed})
        state = {}
        for flat, members in self.groups:
            for key, value in known.get(members[0].name, {}).items():
                state[f'{flat.name}_{key}'] = value if _is_count(key) else paddle.concat(
                    [known[parameter.name][key].flatten() for parameter in members])
        self.optimizer.set_state_dict(state)
        # Paddle needs a state for all of its parameters or for none, but newly unfrozen parameters have none yet.
        begun = [flat for flat, members in self.groups if members[0].name in known]
        create_state(self.optimizer, begun)


def _is_count(key):
    """Whether an accumulator is a single number that depends only on the number of steps: beta ** steps."""
    return '_pow_acc' in key


def _beginnings(name):
    """'a_b_c' -> 'a_b', 'a'"""
    while '_' in name:
        name = name.rpartition('_')[0]
        yield name


def _flat_parameter(members):
    """Create a one-dimensional parameter, and make the members views of it."""
    array, views = coalesce(members)
    flat = paddle.create_parameter(array.shape, array.dtype, default_initializer=paddle.nn.initializer.Constant(0.0))
    share_memory(array, flat)
    for view, parameter in zip(views, members):
        share_memory(view, parameter)
    flat.optimize_attr['learning_rate'] = members[0].optimize_attr['learning_rate']
    return flat


def to_arrays(tensors):
    """{name: tensor} -> {name: array}. Calling `numpy()` on each view would copy the whole array behind it."""
    views = {name: tensor for name, tensor in tensors.items() if tensor.dtype == paddle.float32}   # others are never views
    arrays = {name: tensor.numpy() for name, tensor in tensors.items() if name not in views}
    if views:
        ends = np.cumsum([tensor.size for tensor in views.values()])
        parts = np.split(coalesce(list(views.values()))[0].numpy(), ends)
        arrays.update((name, part.reshape(tensor.shape)) for (name, tensor), part in zip(views.items(), parts))
    return arrays
