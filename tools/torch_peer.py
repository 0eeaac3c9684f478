"""The other side of tools/benchmark.py: one network of timm or torchvision, timed when a line on standard input says so.

    python tools/torch_peer.py timm mobilenetv2_100 BATCH SIZE THREADS
"""
import sys
import time

import torch


def build(library, name):
    if library == 'timm':
        import timm
        return timm.create_model(name), f'timm {timm.__version__}'
    import torchvision
    options = {'init_weights': False} if name in ('googlenet', 'inception_v3') else {}
    return getattr(torchvision.models, name)(weights=None, **options), f'torchvision {torchvision.__version__}'


def step(model, optimizer, images, labels):
    result = model.train()(images)
    parts = result if isinstance(result, tuple) else [result]
    sum(torch.nn.functional.cross_entropy(part, labels) for part in parts).backward()
    optimizer.step()
    optimizer.zero_grad()


def main():
    library, name, batch, size, threads = sys.argv[1:]
    torch.set_num_threads(int(threads))
    model, version = build(library, name)
    optimizer = torch.optim.SGD(model.parameters(), 1e-4)
    images, labels = torch.randn(int(batch), 3, int(size), int(size)), torch.arange(int(batch))
    print(f'{version}, torch {torch.__version__}', flush=True)
    for line in sys.stdin:
        start = time.perf_counter()
        if line.strip() == 'forward':
            with torch.inference_mode():
                model.eval()(images)
        else:
            step(model, optimizer, images, labels)
        print(time.perf_counter() - start, flush=True)


if __name__ == '__main__':
    main()
