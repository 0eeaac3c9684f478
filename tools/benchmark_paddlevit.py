"""Time MobileFormer beside PaddleViT's code: python tools/benchmark_paddlevit.py PaddleViT/image_classification/MobileFormer

Both networks run in this process, with the same weights and inputs and under the same process settings, in turn.
"""
import argparse
import statistics
import sys
import time
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import image_classification as ic  # noqa: E402  (before paddle: it sets up the process)
import paddle  # noqa: E402
import paddle.nn.functional as F  # noqa: E402

from image_classification.errors import UserError, exit_with_message  # noqa: E402


def load_pair(directory, variant):
    """PaddleViT's network and ours, from PaddleViT's yaml, with equal weights."""
    yaml = directory / 'configs' / f'mobileformer_{variant}.yaml'
    if not yaml.is_file():
        raise UserError(f'{yaml} does not exist; wanted PaddleViT/image_classification/MobileFormer of a checkout')
    sys.path.insert(0, str(directory))
    from config import get_config
    from mobileformer import build_mobileformer
    peer = build_mobileformer(get_config(str(yaml)))
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')                            # old spellings
        ours = ic.create_model(yaml)
    ours.set_state_dict(peer.state_dict())
    return {'PaddleViT': peer, 'this library': ours}


def forward(model, optimizer, x, y):
    model.eval()
    with paddle.no_grad():
        model(x).numpy()


def training_step(model, optimizer, x, y):
    model.train()
    loss = F.cross_entropy(model(x), y)
    loss.backward()
    optimizer.step()
    optimizer.clear_grad()
    loss.item()


@exit_with_message
def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('directory', type=Path)
    parser.add_argument('--variant', default='26m')
    parser.add_argument('--batch-size', type=int, default=8)
    parser.add_argument('--image-size', type=int, default=224)
    parser.add_argument('--repeat', type=int, default=7)
    args = parser.parse_args()
    models = load_pair(args.directory, args.variant)
    x, y = paddle.randn([args.batch_size, 3, args.image_size, args.image_size]), paddle.randint(0, 1000, [args.batch_size])
    for model in models.values():
        model.eval()
    peer, ours = (model(x) for model in models.values())
    print(f'largest difference of probabilities: {abs(peer - F.softmax(ours)).max().item():.1e}')
    optimizers = {name: paddle.optimizer.AdamW(1e-4, parameters=model.parameters()) for name, model in models.items()}
    for function in (forward, training_step):
        times = {name: [] for name in models}
        for turn in range(args.repeat + 2):                        # two to warm up
            for name, model in models.items():
                begin = time.perf_counter()
                function(model, optimizers[name], x, y)
                times[name] += [time.perf_counter() - begin] if turn >= 2 else []
        medians = {name: 1000 * statistics.median(values) for name, values in times.items()}
        figures = ', '.join(f'{name} {value:.0f} ms' for name, value in medians.items())
        print(f'{function.__name__}: {figures}, ratio {medians["PaddleViT"] / medians["this library"]:.2f}')


if __name__ == '__main__':
    main()
