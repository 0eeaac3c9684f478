"""Time the input pipeline, from JPEG files to training batches, and compare it with those of torchvision and timm:

    python tools/benchmark_input.py --peers
"""
import command_setup  # noqa: F401  (first: before Paddle is imported)

import json
import os
import platform
import statistics
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

from image_classification.config import BOUNDS
from image_classification.config.options import BATCH, IMAGES, TURNS, Parser
from image_classification.errors import exit_with_message
from image_classification.files import temporary_directory

from benchmarking.processes import Child

ROOT = Path(__file__).resolve().parents[1]
PEERS = {'torchvision, PIL': 'v1', 'torchvision v2, PIL': 'v2-pil', 'torchvision v2, tensors': 'v2-tensor', 'timm': 'timm'}
POLICIES = {'plain': 'random resized crop, mirror, normalize', 'rand': 'the same with the RandAugment of mobileformer_26m'}


def parse(argv):
    parser = Parser(description='Images per second from JPEG files to training batches, medians of alternating runs.')
    parser.add_argument('--images', type=int, bounds=IMAGES, default=3072)
    parser.add_argument('--width', type=int, bounds=BOUNDS['DATA.IMAGE_SIZE'], default=500)
    parser.add_argument('--height', type=int, bounds=BOUNDS['DATA.IMAGE_SIZE'], default=375)
    parser.add_argument('--batch-size', type=int, bounds=BATCH, default=64)
    parser.add_argument('--image-size', type=int, bounds=BOUNDS['DATA.IMAGE_SIZE'], default=224)
    parser.add_argument('--workers', type=int, bounds=BOUNDS['DATA.NUM_WORKERS'], default=2)
    parser.add_argument('--repeat', type=int, bounds=TURNS, default=5)
    parser.add_argument('--backends', nargs='+', default=['pillow', 'opencv'], help='values of DATA.BACKEND')
    parser.add_argument('--policies', nargs='+', default=list(POLICIES), choices=list(POLICIES))
    parser.add_argument('--peers', nargs='*', choices=list(PEERS.values()), help='compare with these; without a name, with all')
    parser.add_argument('--peer-python', default=sys.executable, help='a Python with timm and torchvision')
    parser.add_argument('--json', type=Path, help='also write the images/s of every round to this file')
    args = parser.parse_args(argv)
    args.peers = list(PEERS.values()) if args.peers == [] else args.peers or []
    if args.images < 2 * args.batch_size:
        parser.error(f'--images {args.images} is less than two batches of {args.batch_size}')
    return args


def photo(rng, width, height):
    """A PIL image that resembles a photograph to a JPEG decoder: smooth at several scales, with edges and some noise."""
    pixels = np.full((height, width, 3), 128, np.float32)
    for columns in (4, 12, 40, 120):
        coarse = rng.normal(0, 30, (max(1, columns * height // width), columns, 3)).clip(-90, 90) + 128
        layer = Image.fromarray(coarse.astype(np.uint8)).resize((width, height), Image.Resampling.BICUBIC)
        pixels += np.asarray(layer, np.float32) - 128
    for _ in range(12):
        top, left = rng.integers(height), rng.integers(width)
        part = pixels[top:top + rng.integers(2, height // 2 + 3), left:left + rng.integers(2, width // 2 + 3)]
        part += rng.normal(0, 40, 3)
    return Image.fromarray((pixels + rng.normal(0, 4, pixels.shape)).clip(0, 255).astype(np.uint8))


def write_photos(root, args):
    """Class folders root/train/{a,b}/*.jpg, and one image of each class in root/val. Returns the mean size in bytes."""
    rng, files = np.random.default_rng(0), []
    for part, count in (('train', args.images), ('val', 2)):
        for number in range(count):
            folder = Path(root, part, 'ab'[number % 2])
            folder.mkdir(parents=True, exist_ok=True)
            files.append(folder / f'{number}.jpg')
            photo(rng, args.width, args.height).save(files[-1], quality=90)
    return statistics.mean(file.stat().st_size for file in files)


class Ours:
    """The loader of this library. `run()` returns the images per second of an epoch."""

    def __init__(self, root, backend, policy, args):
        import image_classification as ic
        from image_classification.datasets import get_dataloader, get_dataset
        cfg = ic.get_config(ROOT / 'configs' / 'mobileformer_26m.yaml', {
            'DATA.DATASET': 'folder', 'DATA.DATA_PATH': str(root), 'MODEL.NUM_CLASSES': 2, 'DATA.BACKEND': backend,
            'DATA.BATCH_SIZE': args.batch_size, 'DATA.NUM_WORKERS': args.workers, 'DATA.IMAGE_SIZE': args.image_size,
            'TRAIN.RAND_AUGMENT': policy == 'rand', 'TRAIN.COLOR_JITTER': 0.0})
        self.loader, self.epoch = get_dataloader(cfg, get_dataset(cfg, True), True), 0

    def run(self):
        self.epoch += 1
        workers, count, images = self.loader.num_workers, len(self.loader), 0
        skipped = min(2 * workers or 1, count - 1)                 # these are prefetched, or include starting processes
        for number, (pictures, _) in enumerate(self.loader.epoch(self.epoch), 1):
            if number > skipped:
                images += len(pictures)
            if number == skipped:
                start = time.perf_counter()
        return images / (time.perf_counter() - start)


class Peer:
    """Like `Ours`, in a separate process that waits while another one runs: tools/benchmarking/torch_input_peer.py."""

    def __init__(self, root, kind, policy, args):
        program = ROOT / 'tools' / 'benchmarking' / 'torch_input_peer.py'
        self.child = Child([args.peer_python, program, kind, policy, Path(root, 'train'), args.batch_size, args.image_size,
                            args.workers])
        self.version = self._take('version', self.child.listen())

    def run(self):
        return self._take('speed', self.child.ask('epoch'))

    def _take(self, key, answer):
        if key not in answer:
            raise SystemExit(f'error: the other side {answer["error"]}; does --peer-python have timm and torchvision?')
        return answer[key]


def measure(root, policy, args):
    """Returns {who: [images/s of each round]}, and the versions of the peers."""
    names = {kind: name for name, kind in PEERS.items()}
    peers = {names[kind]: Peer(root, kind, policy, args) for kind in args.peers}
    runners = {**{f'ours, {backend}': Ours(root, backend, policy, args) for backend in args.backends}, **peers}
    try:
        for runner in runners.values():
            runner.run()
        rounds = [{who: runner.run() for who, runner in runners.items()} for _ in range(args.repeat)]
    finally:
        for peer in peers.values():
            peer.child.close()
    return {who: [one[who] for one in rounds] for who in runners}, {peer.version for peer in peers.values()}


def rows(policy, speeds):
    """Lines of the table: median, range in brackets, and speed relative to the fastest peer."""
    medians = {who: statistics.median(values) for who, values in speeds.items()}
    theirs = max([value for who, value in medians.items() if not who.startswith('ours')], default=0)
    lines = ''
    for who, values in speeds.items():
        ratio = f'{medians[who] / theirs:.2f}' if theirs else '-'
        lines += f'| {policy} | {who} | {medians[who]:.0f} ({min(values):.0f} to {max(values):.0f}) | {ratio} |\n'
    return lines


@exit_with_message
def main(argv=None):
    args = parse(argv)
    os.environ['OMP_NUM_THREADS'] = '1'                            # before paddle is imported
    import paddle
    with temporary_directory() as root:
        size = write_photos(root, args)
        print(f'{args.images} JPEG files of {args.width} x {args.height} pixels, {size / 1000:.0f} kB on average, to batches '
              f'of {args.batch_size} at {args.image_size} px, {args.workers} worker(s), '
              f'{platform.processor() or platform.machine()}, PaddlePaddle {paddle.__version__}, Pillow {Image.__version__}')
        print(''.join(f'- {name}: {POLICIES[name]}\n' for name in args.policies))
        print('| policy | pipeline | images/s | times the fastest peer |\n|---|---|---|---|')
        versions, speeds = set(), {}
        for policy in args.policies:
            speeds[policy], found = measure(root, policy, args)
            versions |= found
            print(rows(policy, speeds[policy]), end='', flush=True)
        if args.json:
            args.json.write_text(json.dumps({'images_per_second': speeds, 'versions': sorted(versions)}, indent=1))
        print(''.join(f'\n{version}' for version in sorted(versions)))


if __name__ == '__main__':
    main()
