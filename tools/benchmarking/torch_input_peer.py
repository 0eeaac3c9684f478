"""The other side of tools/benchmark_input.py: training batches with torchvision or timm. For each line on standard input it
runs an epoch, and answers in JSON.

    python tools/benchmarking/torch_input_peer.py KIND POLICY DIR BATCH SIZE WORKERS
"""
import json
import sys
import time

import torch

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def timm_loader(policy, folder, batch, size, workers):
    import timm
    from timm.data import create_dataset, create_loader
    loader = create_loader(create_dataset('', folder), (3, size, size), batch, is_training=True, num_workers=workers,
                           color_jitter=0, auto_augment='rand-m9-mstd0.5' if policy == 'rand' else None, mean=MEAN, std=STD,
                           interpolation='bilinear', device=torch.device('cpu'), pin_memory=False,
                           persistent_workers=workers > 0)
    return loader, f'timm {timm.__version__}'


def torchvision_loader(kind, policy, folder, batch, size, workers):
    import torchvision
    from torchvision.datasets import ImageFolder
    from torchvision.datasets.folder import pil_loader
    from torchvision.io import ImageReadMode, decode_image
    from torchvision.transforms import v2
    transforms = torchvision.transforms if kind == 'v1' else v2
    steps = [transforms.RandomResizedCrop(size), transforms.RandomHorizontalFlip()]
    steps += [transforms.RandAugment()] if policy == 'rand' else []
    if kind == 'v1':
        steps += [transforms.ToTensor()]
    else:
        steps += [v2.PILToTensor()] if kind == 'v2-pil' else []
        steps += [v2.ToDtype(torch.float32, scale=True)]
    steps = transforms.Compose([*steps, transforms.Normalize(MEAN, STD)])
    read = (lambda path: decode_image(path, ImageReadMode.RGB)) if kind == 'v2-tensor' else pil_loader
    loader = torch.utils.data.DataLoader(ImageFolder(folder, steps, loader=read), batch, shuffle=True, drop_last=True,
                                         num_workers=workers, persistent_workers=workers > 0)
    return loader, f'torchvision {torchvision.__version__}'


def speed(batches, count, skipped):
    """Images per second of an epoch of `count` batches, without the first `skipped`: these are prefetched, or include starting
    processes."""
    images = 0
    for number, (pictures, _) in enumerate(batches, 1):
        if number > skipped:
            images += len(pictures)
        if number == skipped:
            start = time.perf_counter()
        if number == count:
            break
    return images / (time.perf_counter() - start)


def main():
    kind, policy, folder, *numbers = sys.argv[1:]
    batch, size, workers = map(int, numbers)
    torch.set_num_threads(1)
    make = timm_loader if kind == 'timm' else lambda *args: torchvision_loader(kind, *args)
    loader, version = make(policy, folder, batch, size, workers)
    print(json.dumps({'version': f'{version}, torch {torch.__version__}'}), flush=True)
    for _ in sys.stdin:
        print(json.dumps({'speed': speed(loader, len(loader), min(2 * workers or 1, len(loader) - 1))}), flush=True)


if __name__ == '__main__':
    main()
