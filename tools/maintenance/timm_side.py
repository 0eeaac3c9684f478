"""Computes timm's results in a Python that has PyTorch: python timm_side.py, started by compare_timm.py.

Each line of standard input is a JSON request: {"name": timm's, "folder": for results, "size": a picture's side, ...}. Each line
of standard output is its answer, or {"error": ...} if it failed. Larger results go through files.
"""
import json
import logging
import sys
import warnings
from pathlib import Path

import numpy as np
import timm
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch.utils.flop_counter import FlopCounterMode

STEP_SIDE, STEP_BATCH = 128, 4                                     # pictures of a training step, if the network takes this size


def fill(model, size):
    """Randomise every parameter that is constant at first, then set batch statistics; leave in evaluation mode."""
    torch.manual_seed(0)
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            noise = torch.randn_like(tensor)
            if 'gamma' in name:                                    # layer scales, initially 1e-6
                tensor.copy_(0.3 + 0.05 * noise)
            elif name.endswith('attention_biases'):
                tensor.copy_(0.5 * noise)
            elif tensor.ndim == 1:
                tensor.copy_(0.1 * noise if name.endswith('bias') else 1.0 + 0.1 * noise)
            elif bool((tensor == tensor.flatten()[0]).all()):      # layer scales that are maps, weights initially 0
                tensor.copy_(0.3 + 0.05 * noise)
        norms = [layer for layer in model.modules() if isinstance(layer, torch.nn.modules.batchnorm._BatchNorm)]
        hooks = [layer.register_forward_pre_hook(settle) for layer in norms]
        # Large shapes on top of noise: for pure noise, attention gives all pixels the same output, and a few pictures then say
        # little about the statistics.
        shapes = F.interpolate(torch.randn(4, 3, 7, 7), (size, size), mode='bilinear')
        model.eval()(torch.randn(4, 3, size, size) + 2 * shapes)
        for hook in hooks:
            hook.remove()
    return model.eval()


def settle(norm, inputs):
    """Give a batch norm in evaluation mode the statistics of its input, with some random noise. So its output keeps its scale
    for the next norms."""
    dims = [axis for axis in range(inputs[0].ndim) if axis != 1]
    variance, mean = torch.var_mean(inputs[0], dims, correction=0)
    variance = variance.clamp(min=0.1 * float(variance.mean()))    # else a channel that happens to be quiet drowns the others
    norm.running_mean.copy_(mean + 0.1 * variance.sqrt() * torch.randn_like(variance))
    norm.running_var.copy_(variance * torch.exp(0.1 * torch.randn_like(variance)))


def without_chance(model):
    """The network without dropout and stochastic depth."""
    for layer in model.modules():
        for name in ('p', 'drop_prob', 'drop_rate'):            # drop_rate: in networks that call a function
            if isinstance(getattr(layer, name, None), float):
                setattr(layer, name, 0.0)
    return model


def keep_double():
    """Make `.float()` keep float64: timm computes linear attention in float32, for the sake of half precision."""
    single = torch.Tensor.float
    torch.Tensor.float = lambda self: self if self.dtype == torch.float64 else single(self)


def logits_of(result):
    """The output in training as one tensor. The heads of a distilled network are averaged, as in evaluation."""
    return sum(result) / len(result) if isinstance(result, (tuple, list)) else result


def first_that_runs(model, shapes):
    """(picture, output) for the first of these shapes that the network accepts; None if it accepts none."""
    for shape in shapes:
        try:
            image = torch.randn(shape, dtype=torch.float64)
            with torch.no_grad():
                return image, model(image)
        except (RuntimeError, AssertionError, ValueError):
            continue
    return None


def train_step(model, size):
    """(pictures, {parameter: norm of its gradient}) for a step in training mode."""
    model = without_chance(model).train()
    for side in (STEP_SIDE, size):
        torch.manual_seed(1)
        images = torch.randn(STEP_BATCH, 3, side, side, dtype=torch.float64)
        try:
            loss = F.cross_entropy(logits_of(model(images)), torch.arange(STEP_BATCH))
        except (RuntimeError, AssertionError, ValueError):
            continue
        loss.backward()
        return images, {name: float(p.grad.norm()) for name, p in model.named_parameters() if p.grad is not None}
    raise RuntimeError(f'no step at {STEP_SIDE} or {size} pixels')


def features_of(name, weights, image):
    """([map], [its stride]) of timm's features_only; empty lists if timm does not support it."""
    try:
        model = timm.create_model(name, features_only=True, pretrained=True, pretrained_cfg_overlay={'file': str(weights)})
    except (RuntimeError, TypeError, AssertionError, AttributeError) as error:
        print(f'{name} has no features: {error}', file=sys.stderr)
        return [], []
    with torch.no_grad():
        return model.double().eval()(image), model.feature_info.reduction()


def compare(name, folder, size):
    """Save random weights and statistics, and compute the network's outputs for pictures of two sizes, its features and
    gradients."""
    model, weights = fill(timm.create_model(name), size), Path(folder, 'weights.safetensors')
    save_file({key: value.clone().contiguous() for key, value in model.state_dict().items()}, weights)
    single, model = model, timm.create_model(name).double().eval()
    model.load_state_dict(load_file(weights))
    sizes = [[(1, 3, size, size)], [(1, 3, size - 31, size + 36), (1, 3, size - 32, size + 32), (1, 3, size + 64, size + 64)]]
    runs = [run for run in (first_that_runs(model, shapes) for shapes in sizes) if run]
    maps, strides = features_of(name, weights, runs[0][0])
    arrays = {f'map{i}': value.numpy() for i, value in enumerate(maps)}
    for i, (image, logits) in enumerate(runs):
        arrays.update({f'image{i}': image.numpy(), f'logits{i}': logits.numpy()})
    with torch.no_grad():
        rounding = [float((single(image.to(torch.float32)) - logits).abs().max() / logits.std()) for image, logits in runs]
    count = sum(p.numel() for p in model.parameters())
    arrays['step_images'], gradients = train_step(model, size)
    np.savez(Path(folder, 'numbers.npz'), **arrays)
    return {'parameters': count, 'strides': strides, 'gradients': gradients, 'rounding': rounding,
            'sizes': [list(image.shape) for image, _ in runs]}


def keys(name):
    """The entries of a network's state dict: [[key, shape, param or buffer, dtype]]."""
    model = timm.create_model(name)
    parameters = dict(model.named_parameters())
    return {'keys': [[key, list(value.shape), 'param' if key in parameters else 'buffer', str(value.dtype).split('.')[-1]]
                     for key, value in model.state_dict().items()]}


def stages(model):
    """Names of the layers whose output is recorded: the network's children, or the children's children if those are lists."""
    names = []
    for name, child in model.named_children():
        if isinstance(child, (torch.nn.Sequential, torch.nn.ModuleList)) and len(child) > 1:
            names += [f'{name}.{inner}' for inner, _ in child.named_children()]
        elif any(True for _ in child.parameters()):
            names.append(name)
    return names


def record(name, folder, inputs):
    """Outputs and features with given weights, in float64, in the form of tests/data/golden; and multiply-adds per picture."""
    timm.layers.set_fused_attn(False)                              # the counter does not see products in fused attention
    model = timm.create_model(name)
    model.load_state_dict(load_file(Path(folder, 'weights.safetensors')))
    model.eval()
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        model(torch.zeros(1, *inputs[0]['shape'][1:]))
    found, names, layers = {}, stages(model), dict(model.named_modules())
    for each in names:
        layers[each].register_forward_hook(lambda layer, given, output, each=each: found.update({each: output}))
    arrays, outputs, shapes = {}, {}, {}
    model = model.double()
    for j, item in enumerate(inputs):
        image = np.random.Generator(np.random.PCG64(item['seed'])).standard_normal(tuple(item['shape'])).astype(np.float32)
        with torch.no_grad():
            logits = model(torch.from_numpy(image).double())
        values = [found[each].numpy() for each in names if isinstance(found.get(each), torch.Tensor)]
        shapes = {each: [*shapes.get(each, []), list(found[each].shape)] for each in names
                  if isinstance(found.get(each), torch.Tensor)}
        outputs[f'logits_{j}'] = list(logits.shape)
        arrays.update({f'logits_{j}': logits.numpy().astype(np.float32), f'feat_mean_{j}': [v.mean() for v in values],
                       f'feat_std_{j}': [v.std() for v in values],
                       f'feat_first8_{j}': np.float32([v[0].reshape(-1)[:8] for v in values])})
    np.savez_compressed(Path(folder, 'numbers.npz'), **arrays)
    count = sum(p.numel() for p in model.parameters())
    return {'macs': counter.get_total_flops() // 2, 'outputs': outputs, 'parameters': count,
            'features': [{'name': each, 'shapes': shape} for each, shape in shapes.items()], 'version': timm.__version__}


def main():
    warnings.simplefilter('ignore')
    logging.disable(logging.WARNING)                               # features_only warns about the unused classifier
    torch.set_num_threads(1)
    keep_double()
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = globals()[request.pop('do')](**request)
        except Exception as error:                                 # the other side reports it and goes on
            answer = {'error': f'{type(error).__name__}: {error}'}
        print(json.dumps(answer), flush=True)


if __name__ == '__main__':
    main()
