"""What timm computes, in a Python that has PyTorch: python timm_side.py, started by compare_timm.py.

Each line that comes in is a request in JSON, {"name": timm's, "folder": where results go, "size": a picture's side, ...}; each
line that goes out is its answer, {"error": ...} where it failed. The Python of Paddle and this one share files alone.
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

STEP_SIDE, STEP_BATCH = 128, 4                                     # of the pictures of a training step, where any size is taken


def fill(model, size):
    """Draw every entry that is constant at first, then take batch statistics; leave in evaluation."""
    torch.manual_seed(0)
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            noise = torch.randn_like(tensor)
            if 'gamma' in name:                                    # layer scales, which begin at 1e-6
                tensor.copy_(0.3 + 0.05 * noise)
            elif name.endswith('attention_biases'):
                tensor.copy_(0.5 * noise)
            elif tensor.ndim == 1:
                tensor.copy_(0.1 * noise if name.endswith('bias') else 1.0 + 0.1 * noise)
            elif bool((tensor == tensor.flatten()[0]).all()):      # layer scales that are maps, weights that begin at 0
                tensor.copy_(0.3 + 0.05 * noise)
        norms = [layer for layer in model.modules() if isinstance(layer, torch.nn.modules.batchnorm._BatchNorm)]
        hooks = [layer.register_forward_pre_hook(settle) for layer in norms]
        # With large shapes in them: of mere noise, attention makes the same of all pixels, which few pictures tell little of.
        shapes = F.interpolate(torch.randn(4, 3, 7, 7), (size, size), mode='bilinear')
        model.eval()(torch.randn(4, 3, size, size) + 2 * shapes)
        for hook in hooks:
            hook.remove()
    return model.eval()


def settle(norm, inputs):
    """Give a batch norm in evaluation the statistics of what it is about to see, and others beside them by chance: so what comes
    out of it keeps its size, and the next norms see that."""
    dims = [axis for axis in range(inputs[0].ndim) if axis != 1]
    variance, mean = torch.var_mean(inputs[0], dims, correction=0)
    variance = variance.clamp(min=0.1 * float(variance.mean()))    # relative: no channel, quiet by chance, may drown the others
    norm.running_mean.copy_(mean + 0.1 * variance.sqrt() * torch.randn_like(variance))
    norm.running_var.copy_(variance * torch.exp(0.1 * torch.randn_like(variance)))


def without_chance(model):
    """The network without dropout and stochastic depth."""
    for layer in model.modules():
        for name in ('p', 'drop_prob', 'drop_rate'):            # the last one of networks that call a function
            if isinstance(getattr(layer, name, None), float):
                setattr(layer, name, 0.0)
    return model


def keep_double():
    """Let `.float()` leave float64 as it is: linear attention is computed in float32 there, for half precision's sake."""
    single = torch.Tensor.float
    torch.Tensor.float = lambda self: self if self.dtype == torch.float64 else single(self)


def logits_of(result):
    """What training returns, as one tensor: heads of a distilled network are averaged, as for evaluation."""
    return sum(result) / len(result) if isinstance(result, (tuple, list)) else result


def first_that_runs(model, shapes):
    """(a picture of the first of these shapes that the network takes, what it gives); None where it takes none."""
    for shape in shapes:
        try:
            image = torch.randn(shape, dtype=torch.float64)
            with torch.no_grad():
                return image, model(image)
        except (RuntimeError, AssertionError, ValueError):
            continue
    return None


def train_step(model, size):
    """(pictures, {parameter: norm of its gradient}) of a step in training mode."""
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
    """([map], [its stride]) of timm's features_only; none where it has no such form."""
    try:
        model = timm.create_model(name, features_only=True, pretrained=True, pretrained_cfg_overlay={'file': str(weights)})
    except (RuntimeError, TypeError, AssertionError, AttributeError) as error:
        print(f'{name} has no features: {error}', file=sys.stderr)
        return [], []
    with torch.no_grad():
        return model.double().eval()(image), model.feature_info.reduction()


def compare(name, folder, size):
    """Random weights and statistics, saved; what the network makes of pictures of two sizes, its features, its gradients."""
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
    """The entries of its state: [[key, shape, param or buffer, type]]."""
    model = timm.create_model(name)
    parameters = dict(model.named_parameters())
    return {'keys': [[key, list(value.shape), 'param' if key in parameters else 'buffer', str(value.dtype).split('.')[-1]]
                     for key, value in model.state_dict().items()]}


def stages(model):
    """Names of the layers whose output is recorded: the network's children and, of those that are lists, theirs."""
    names = []
    for name, child in model.named_children():
        if isinstance(child, (torch.nn.Sequential, torch.nn.ModuleList)) and len(child) > 1:
            names += [f'{name}.{inner}' for inner, _ in child.named_children()]
        elif any(True for _ in child.parameters()):
            names.append(name)
    return names


def record(name, folder, inputs):
    """Outputs and features under given weights, in float64, as tests/data/golden has them; multiply-adds of one picture."""
    timm.layers.set_fused_attn(False)                              # whose products the counter would not see
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
    logging.disable(logging.WARNING)                               # of a classifier that features do without
    torch.set_num_threads(1)
    keep_double()
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = globals()[request.pop('do')](**request)
        except Exception as error:                                 # the other side says it and goes on
            answer = {'error': f'{type(error).__name__}: {error}'}
        print(json.dumps(answer), flush=True)


if __name__ == '__main__':
    main()
