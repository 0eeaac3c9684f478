"""Export a network for Paddle Inference: python tools/export.py output/<run>/best.safetensors"""
import argparse
import os
import shlex
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import yaml  # noqa: E402

from image_classification import create_model, load_weights  # noqa: E402
from image_classification.deploy.export import FORMATS, export_model  # noqa: E402
from image_classification.engine.checkpoint import load_network  # noqa: E402
from image_classification.errors import UserError, exit_with_message  # noqa: E402


def parse():
    parser = argparse.ArgumentParser(description='Write a network as inference.json (or .pdmodel), inference.pdiparams and '
                                                 'inference.yaml, and verify that it agrees with the network.')
    parser.add_argument('checkpoint', nargs='?', help='what a training wrote, e.g. output/<run>/best.safetensors')
    parser.add_argument('--model', help='instead of a checkpoint, a model by name')
    parser.add_argument('--weights', help='weights for --model: .safetensors or .pdparams')
    parser.add_argument('--num-classes', type=int, help='number of classes of --model')
    parser.add_argument('--output', help='directory to write; by default export beside the checkpoint, or export/<name>')
    parser.add_argument('--format', choices=FORMATS, default='paddle',
                        help='pdmodel is the older format, for Paddle-Lite and OpenVINO; default: paddle')
    parser.add_argument('--softmax', action='store_true', help='give probabilities instead of logits')
    parser.add_argument('--image-size', type=int, help='side of the square input in pixels; by default that of the training')
    return parser.parse_args()


def load(args):
    """(network, class names, default directory) that the arguments mean."""
    if bool(args.checkpoint) == bool(args.model):
        raise UserError('wanted either a checkpoint or --model NAME')
    if args.checkpoint:
        if args.weights or args.num_classes is not None:
            raise UserError('--weights and --num-classes belong to --model; a checkpoint has its own')
        return *load_network(args.checkpoint), Path(args.checkpoint).parent / 'export'
    model = create_model(args.model, **({} if args.num_classes is None else {'num_classes': args.num_classes}))
    if args.weights:
        load_weights(model, args.weights)
    else:
        print('warning: no --weights given, the exported network is untrained', file=sys.stderr)
    return model, None, Path('export') / model.config.MODEL.NAME


@exit_with_message
def main():
    args = parse()
    model, class_names, directory = load(args)
    directory = Path(args.output) if args.output else directory
    export_model(model, directory, class_names, args.format, args.softmax, args.image_size)
    for path in sorted(directory.iterdir()):
        print(f'{path}  {path.stat().st_size:,} bytes')
    description = yaml.safe_load((directory / 'inference.yaml').read_text(encoding='utf-8'))
    for batch, difference in description['differences'].items():
        print(f'batch {batch}: largest difference from the network {difference["absolute"]:.1e}, '
              f'{difference["relative"]:.1e} of the output\'s standard deviation')
    size = description['input']['image_size']
    print(f'input: {size} x {size} pixels, {"but others work, too" if description["input"]["free_size"] else "no other size"}')
    predict = os.path.relpath(Path(__file__).resolve().with_name('predict.py'))
    print(f'classify an image: python {shlex.quote(predict)} {shlex.quote(str(directory))} IMAGE')


if __name__ == '__main__':
    main()
