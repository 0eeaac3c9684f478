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

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / 'tools' / 'maintenance'))

from timm_side import fill  # noqa: E402


def build(library, name):
    if library == 'timm':
        import timm
        return timm.create_model(name)
    import torchvision
    options = {'init_weights': True, 'aux_logits': True} if name in ('googlenet', 'inception_v3') else {}
    return torchvision.models.get_model(name, **options)


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
