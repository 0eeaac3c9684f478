"""Time networks, beside those of timm and torchvision if asked for: python tools/benchmark.py 'mobilenet_v*' --peers"""
import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

# Our model: the same network elsewhere, with its library.
PEERS = {
    'googlenet': 'torchvision googlenet', 'inception_v3': 'torchvision inception_v3', 'inception_v4': 'timm inception_v4',
    'inception_resnet_v2': 'timm inception_resnet_v2', 'xception': 'timm legacy_xception',
    'mobilenet_v1_x1_0': 'timm mobilenetv1_100', 'mobilenet_v1_x1_25': 'timm mobilenetv1_125',
    'mobilenet_v2_x0_35': 'timm mobilenetv2_035', 'mobilenet_v2_x0_5': 'timm mobilenetv2_050',
    'mobilenet_v2_x0_75': 'timm mobilenetv2_075', 'mobilenet_v2_x1_0': 'torchvision mobilenet_v2',
    'mobilenet_v2_x1_4': 'timm mobilenetv2_140', 'mobilenet_v3_large_x0_75': 'timm mobilenetv3_large_075',
    'mobilenet_v3_large_x1_0': 'torchvision mobilenet_v3_large', 'mobilenet_v3_small_x0_5': 'timm mobilenetv3_small_050',
    'mobilenet_v3_small_x0_75': 'timm mobilenetv3_small_075', 'mobilenet_v3_small_x1_0': 'torchvision mobilenet_v3_small',
    **{f'edgenext_{size}': f'timm edgenext_{size}' for size in ('xx_small', 'x_small', 'small', 'base')},
    **{f'efficientvit_m{i}': f'timm efficientvit_m{i}' for i in range(6)},
    **{f'shufflenet_v2_x{width}': f'torchvision shufflenet_v2_x{width}' for width in ('0_5', '1_0', '1_5', '2_0')},
}


def parse():
    parser = argparse.ArgumentParser(description='Forward and training step in milliseconds, medians of alternating runs.')
    parser.add_argument('patterns', nargs='+', help="names of models, e.g. 'mobilenet_v*'")
    parser.add_argument('--batch-size', type=int, default=8)
    parser.add_argument('--image-size', type=int, help='by default the size that each network is for')
    parser.add_argument('--threads', type=int, default=1)
    parser.add_argument('--repeat', type=int, default=7)
    parser.add_argument('--step', action='store_true', help='time a training step (SGD), not only the forward pass')
    parser.add_argument('--peers', action='store_true', help='run timm\'s or torchvision\'s network in turn with ours')
    parser.add_argument('--peer-python', default=sys.executable, help='the Python that has timm and torchvision')
    parser.add_argument('--json', type=Path, help='write the figures here, too')
    return parser.parse_args()


class Ours:
    """One network of this library; `run(kind)` gives the seconds of one forward pass or training step."""

    def __init__(self, name, batch, size):
        import paddle
        import image_classification as ic
        self.paddle, self.model = paddle, ic.create_model(name)
        self.size = size or self.model.config.DATA.IMAGE_SIZE
        self.images = paddle.randn([batch, 3, self.size, self.size])
        self.labels = paddle.arange(batch)
        self.optimizer = paddle.optimizer.SGD(1e-4, parameters=self.model.parameters())

    def run(self, kind):
        start = time.perf_counter()
        if kind == 'forward':
            self.model.eval()
            with self.paddle.no_grad():
                result = self.model(self.images)
        else:
            self.model.train()
            result = self.model(self.images)
            logits = result if isinstance(result, (list, tuple)) else [result]
            sum(self.paddle.nn.functional.cross_entropy(part, self.labels) for part in logits).backward()
            self.optimizer.step()
            self.optimizer.clear_grad()
        if not self.paddle.get_device().startswith('cpu'):
            self.paddle.device.synchronize()
        return time.perf_counter() - start


class Peer:
    """The same in a process of its own, which waits while ours runs: tools/torch_peer.py."""

    def __init__(self, python, library, name, batch, size, threads):
        command = [python, str(ROOT / 'tools' / 'torch_peer.py'), library, name, str(batch), str(size), str(threads)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.version = self._answer()

    def run(self, kind):
        print(kind, file=self.process.stdin, flush=True)
        return float(self._answer())

    def _answer(self):
        line = self.process.stdout.readline().strip()
        if not line:
            raise SystemExit(f'{" ".join(self.process.args)} failed; does that Python have timm and torchvision?')
        return line

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def measure(name, args):
    """{kind: {who: [milliseconds]}} of one network, and the peer's name and version."""
    ours = Ours(name, args.batch_size, args.image_size)
    runners, peer, version = {'ours': ours}, PEERS.get(name, '') if args.peers else '', ''
    if peer:
        runners['peer'] = Peer(args.peer_python, *peer.split(), args.batch_size, ours.size, args.threads)
        version = runners['peer'].version
    times = {}
    for kind in ('forward', 'step') if args.step else ('forward',):
        for runner in runners.values():
            runner.run(kind)
            runner.run(kind)
        rounds = [{who: 1000 * runner.run(kind) for who, runner in runners.items()} for _ in range(args.repeat)]
        times[kind] = {who: [one[who] for one in rounds] for who in runners}
    if peer:
        runners['peer'].close()
    return {'model': name, 'size': ours.size, 'peer': peer, 'peer_version': version, 'times': times}


def row(result):
    """Lines of the table: medians, least to largest in brackets, and how many times as fast ours is."""
    lines = ''
    for kind, times in result['times'].items():
        cells = [f'{statistics.median(t):.1f} ({min(t):.1f} to {max(t):.1f})' for t in times.values()]
        ratio = statistics.median(times['peer']) / statistics.median(times['ours']) if 'peer' in times else 0
        lines += (f'| {result["model"]} | {result["size"]} | {kind} | {cells[0]} | {result["peer"] or "-"} | '
                  f'{cells[1] if ratio else "-"} | {f"{ratio:.2f}" if ratio else "-"} |\n')
    return lines


def main():
    args = parse()
    os.environ['OMP_NUM_THREADS'] = str(args.threads)              # before paddle is imported
    import image_classification as ic
    import paddle
    names = sorted({name for pattern in args.patterns for name in ic.list_models(pattern)})
    if not names:
        raise SystemExit(f'no model fits {" ".join(args.patterns)}; image_classification.list_models() has all of them')
    machine = {'machine': platform.processor() or platform.machine(), 'device': paddle.get_device(), 'threads': args.threads,
               'batch_size': args.batch_size, 'paddle': paddle.__version__, 'python': platform.python_version()}
    print(f'batch {args.batch_size}, {args.threads} thread(s), {machine["device"]}, PaddlePaddle {paddle.__version__}\n')
    print('| model | px | what | ours, ms | peer | peer, ms | times as fast |\n|---|---|---|---|---|---|---|')
    results = []
    for name in names:
        results.append(measure(name, args))
        print(row(results[-1]), end='', flush=True)
    if args.json:
        args.json.write_text(json.dumps({**machine, 'results': results}, indent=1))


if __name__ == '__main__':
    main()
