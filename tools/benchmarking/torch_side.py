"""A network of timm, torchvision or the authors of MobileFormer, in PyTorch. See child.py for the protocol."""
import importlib
import sys
import types

import torch

from child import Built, followed_by, peak_memory, serve


def timm(job):
    import timm
    return timm.create_model(job['name'])


def torchvision(job):
    import torchvision
    options = {'init_weights': False} if job['name'] in ('googlenet', 'inception_v3') else {}
    return getattr(torchvision.models, job['name'])(weights=None, **options)


def authors(job):
    """A network of AAboys/MobileFormer. Its files were made to lie inside a timm of 2021; today's timm takes its place."""
    from timm import layers
    from timm.models import _features
    package, hub = types.ModuleType('authors'), types.ModuleType('authors.hub')
    package.__path__ = [job['directory']]
    hub.__getattr__ = lambda name: None                            # would download weights
    layers.Linear = torch.nn.Linear
    sys.modules.update({'authors': package, 'authors.hub': hub, 'authors.layers': layers, 'authors.features': _features})
    return getattr(importlib.import_module('authors.mobile_former'), job['name'])()


LIBRARIES = {'timm': timm, 'torchvision': torchvision, 'authors': authors}


def build(job):
    gpu = job['device'] == 'gpu'
    device = 'cuda' if gpu else 'cpu'
    torch.set_num_threads(job['threads'])
    torch.manual_seed(0)
    model = LIBRARIES[job['who']](job).to(device)
    images = torch.randn(job['batch'], job['channels'], job['size'], job['size'], device=device)
    labels = torch.arange(job['batch'], device=device)
    cast = torch.autocast(device, torch.float16, enabled=job['amp'])
    if job['compile']:
        model = torch.compile(model)
    run = forward(model.eval(), images, cast) if job['what'] == 'forward' else step(model.train(), images, labels, cast, job)
    return Built(followed_by(torch.cuda.synchronize, run) if gpu else run, finite, versions(job['who']),
                 (lambda: torch.cuda.max_memory_allocated() / 2**20) if gpu else peak_memory)


def finite(result):
    return bool(torch.isfinite(result).all())


def forward(model, images, cast):
    def run():
        with torch.inference_mode(), cast:
            return model(images)
    return run


def step(model, images, labels, cast, job):
    optimizer = {'sgd': torch.optim.SGD, 'adamw': torch.optim.AdamW}[job['optimizer']](model.parameters(), 1e-4)
    scaler = torch.amp.GradScaler(images.device.type, enabled=job['amp'])

    def run():
        with cast:
            result = model(images)
            parts = result if isinstance(result, tuple) else [result]
            loss = sum(torch.nn.functional.cross_entropy(part, labels) for part in parts)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
        return loss
    return run


def versions(library):
    names = ['torch', 'timm' if library == 'authors' else library]
    return {name: importlib.import_module(name).__version__ for name in names}


if __name__ == '__main__':
    serve(build)
