"""A network of this library, its export, or a network of paddle.vision, PaddleClas or PaddleViT. See child.py for the protocol.

Peers import nothing of this library: their process is set up as for their own users, unless the job says otherwise.
"""
import importlib
import importlib.util
import sys
import types
from pathlib import Path

from child import Built, followed_by, peak_memory, serve


def ours(job):
    import image_classification as ic
    model = ic.create_model(job['name'])
    return ic.fuse(model) if job['who'] == 'fused' else model


def paddle_vision(job):
    import paddle
    name, *scale = job['name'].split()
    return getattr(paddle.vision.models, name)(**({'scale': float(scale[0])} if scale else {}))


def paddle_clas(job):
    """Import only a backbone's module: the whole package would need all dependencies of PaddleClas."""
    installed = importlib.util.find_spec('paddleclas')
    if not job['directory'] and not installed:
        raise ModuleNotFoundError('neither --paddleclas nor an installed paddleclas')
    root = Path(job['directory'] or installed.submodule_search_locations[0])
    for name in ('ppcls', 'ppcls.arch', 'ppcls.arch.backbone', 'ppcls.utils'):
        package = types.ModuleType(name)
        package.__path__ = [str(root.joinpath(*name.split('.')))]
        sys.modules[name] = package
    utils, save_load = sys.modules['ppcls.utils'], types.ModuleType('ppcls.utils.save_load')
    utils.logger = types.SimpleNamespace(warning=lambda text: None, info=lambda text: None)
    save_load.load_dygraph_pretrain = lambda *arguments, **keywords: None              # it would download weights
    sys.modules['ppcls.utils.save_load'] = save_load
    module, name = job['name'].split('.')
    folder = next(path.parent.name for path in root.glob(f'ppcls/arch/backbone/*/{module}.py'))
    return getattr(importlib.import_module(f'ppcls.arch.backbone.{folder}.{module}'), name)()


def paddle_vit(job):
    from config import get_config
    from mobileformer import build_mobileformer
    return build_mobileformer(get_config(str(Path(job['directory'], 'configs', f'{job["name"]}.yaml'))))


PEERS = {'paddle.vision': paddle_vision, 'PaddleClas': paddle_clas, 'PaddleViT': paddle_vit}


def build(job):
    if job['who'] not in PEERS or job['settings']:
        from image_classification.cpu.settings import tune_cpu
        tune_cpu()
    if job['who'] not in PEERS and job['directory']:
        return exported(job)
    import paddle
    paddle.set_device(job['device'])
    paddle.seed(0)
    model = PEERS.get(job['who'], ours)(job)
    (model.eval if job['what'] == 'forward' else model.train)()
    images = paddle.randn([job['batch'], job['channels'], job['size'], job['size']])
    if job['who'] == 'static':
        model = paddle.jit.to_static(model, full_graph=True)
    run = forward(model, images, job['amp']) if job['what'] == 'forward' else step(model, images, job)
    gpu = job['device'] == 'gpu'
    return Built(followed_by(paddle.device.synchronize, run) if gpu else run, finite, {'paddle': paddle.__version__},
                 (lambda: paddle.device.cuda.max_memory_allocated() / 2**20) if gpu else peak_memory)


def tensors(result):
    """The outputs of a network as a flat list."""
    return [part for item in result for part in tensors(item)] if isinstance(result, (list, tuple)) else [result]


def finite(result):
    return all(bool(tensor.isfinite().all()) for tensor in tensors(result))


def forward(model, images, amp):
    import paddle

    def run():
        with paddle.no_grad(), paddle.amp.auto_cast(enable=amp):
            return model(images)
    return run


def step(model, images, job):
    import paddle
    kind = {'sgd': paddle.optimizer.SGD, 'adamw': paddle.optimizer.AdamW}[job['optimizer']]
    optimizer = kind(1e-4, parameters=model.parameters())
    scaler = paddle.amp.GradScaler(enable=job['amp'])
    labels = paddle.arange(job['batch'])

    def loss_of(output):
        if output.ndim == 2:
            return paddle.nn.functional.cross_entropy(output, labels)
        return output.square().mean()                              # for maps, or a detector's tensors

    def run():
        with paddle.amp.auto_cast(enable=job['amp']):
            loss = sum(loss_of(output) for output in tensors(model(images)))
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.clear_grad()
        return loss
    return run


def exported(job):
    """An engine that runs an export on the CPU, from an array to arrays."""
    import numpy as np
    from image_classification.deploy.engines import open_engine
    engine = open_engine(job['directory'], job['who'], job['threads'])
    images = np.random.default_rng(0).standard_normal([job['batch'], job['channels'], job['size'], job['size']], np.float32)
    return Built(lambda: engine.run(images), lambda result: all(np.isfinite(array).all() for array in result),
                 {engine.module: engine.version().split('-')[0]}, peak_memory)


if __name__ == '__main__':
    serve(build)
