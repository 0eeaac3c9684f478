"""What the original computes, in a Python that has PyTorch: python torch_side.py LIBRARY NAME SIZE FOLDER

Writes to FOLDER the float32 weights of a randomly filled network of timm or torchvision in three formats, and io.npz with an
input and the logits, which are computed in float64. Batch statistics come from a forward pass, so that activations keep their
size however deep the network is.
"""
import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file


def build(library, name):
    if library == 'timm':
        import timm
        return timm.create_model(name)
    import torchvision
    options = {'init_weights': True, 'aux_logits': True} if name in ('googlenet', 'inception_v3') else {}
    return torchvision.models.get_model(name, **options)


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
        norms = [layer for layer in model.modules() if isinstance(layer, torch.nn.modules.batchnorm._BatchNorm)]
        for layer in norms:
            layer.momentum = 1.0
        model.train()(torch.randn(4, 3, size, size))
        for layer in norms:                                        # relative: no channel, quiet by chance, may drown the others
            variance = layer.running_var.clamp_(min=0.1 * float(layer.running_var.mean()))
            layer.running_mean.add_(0.1 * variance.sqrt() * torch.randn_like(variance))
            variance.mul_(torch.exp(0.1 * torch.randn_like(variance)))
    return model.eval()


def main():
    library, name, size, folder = sys.argv[1:]
    folder = Path(folder)
    torch.set_num_threads(2)
    model = fill(build(library, name), int(size))
    image = torch.randn(1, 3, int(size), int(size))
    if getattr(model, 'transform_input', False):
        raise SystemExit('transform_input is preprocessing here: build the network without it')
    state = {key: value.clone() for key, value in model.state_dict().items()}
    with torch.no_grad():
        logits = model.double()(image.double())
    torch.save(state, folder / 'weights.pth')
    torch.save({'state_dict': {f'module.{key}': value for key, value in state.items()}, 'epoch': 3}, folder / 'legacy.pth',
               _use_new_zipfile_serialization=False)
    save_file(state, folder / 'weights.safetensors')
    np.savez(folder / 'io.npz', image=image.numpy(), logits=logits.numpy())


if __name__ == '__main__':
    main()
