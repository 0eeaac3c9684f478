"""Convert published weights to this library's names: python tools/convert_weights.py IN.pth OUT.safetensors --model NAME"""
import command_setup  # noqa: F401  (first: before Paddle is imported)

import datetime
import hashlib
import json
import pickle
from pathlib import Path

import numpy as np
import paddle

import image_classification as ic
from image_classification.config import BOUNDS, Parser, get_config
from image_classification.deploy.complexity import count_parameters
from image_classification.errors import UserError, exit_with_message
from image_classification.files import write_atomically
from image_classification.models import build_for_weights, network_by_name, with_preprocessing_of
from image_classification.weights import read_safetensors, read_weights, to_torch, write_safetensors
from image_classification.weights.loading import checksum
from image_classification.weights.catalogue import NETWORK, PREPROCESSING, classifier_of, is_address
from image_classification.weights.pretrained import load_whole, locate

FORMAT = 'paddle-mobile-backbones weights'
ENDINGS = ('.safetensors', '.pdparams')


def parse(argv):
    parser = Parser(description='Write weights of any known publisher as .safetensors or .pdparams, with a '
                                                 'note of where they come from.')
    parser.add_argument('source', metavar='IN', help='NAME=WEIGHTS: the network, then a file, an address or a tag of its '
                                                     'weights (default: its first tag)')
    parser.add_argument('output', metavar='OUT', type=Path, help='file to write, .safetensors or .pdparams')
    parser.add_argument('--model', help='name or yaml of the network, instead of NAME=')
    parser.add_argument('--num-classes', type=int, bounds=BOUNDS['MODEL.NUM_CLASSES'],
                        help='number of classes of the weights, if not 1000')
    parser.add_argument('--style', default='', help="publisher whose key names to write, e.g. timm; default: this library's")
    parser.add_argument('--verify', action='store_true', help='print parameters, a digest, and statistics of the logits')
    parser.add_argument('--force', action='store_true', help='replace a file that this command wrote earlier')
    return parser.parse_args(argv)


def provenance(cfg, args):
    """{metadata key: text} that says what the weights are and where they come from."""
    path, source, entry = locate(cfg, args.source)
    notes = {'format': FORMAT, 'model': cfg.MODEL.NAME, 'num_classes': cfg.MODEL.NUM_CLASSES,
             'source': entry.get('URL') or (source if entry or is_address(args.source) else Path(args.source).name),
             'source_sha256': hashlib.sha256(path.read_bytes()).hexdigest(), 'tag': entry.get('TAG', ''),
             'licence': entry.get('LICENCE', 'not stated'), 'style': args.style or 'paddle',
             'date': datetime.date.today().isoformat(), 'version': ic.__version__,
             'protocol': json.dumps({key: cfg.DATA[key] for key in sorted(PREPROCESSING)}),
             'network': json.dumps({key: cfg.MODEL[key] for key in sorted(NETWORK) if key in cfg.MODEL})}
    return {key: str(value) for key, value in notes.items()}


def write(path, state, notes):
    if path.suffix == '.safetensors':
        return write_safetensors(path, state, notes)
    content = {**state, '__provenance__': notes}                    # paddle's set_state_dict ignores names that no layer has
    write_atomically(path, lambda temporary: temporary.write_bytes(pickle.dumps(content, protocol=4)))


def was_converted(path):
    """Whether this command wrote the file."""
    try:
        if path.suffix == '.safetensors':
            return read_safetensors(path)[1].get('format') == FORMAT
        return FORMAT.encode() in path.read_bytes()                # a pickle; searched without unpickling
    except (UserError, OSError):
        return False


def describe(model, state):
    """Lines by which two conversions can be compared."""
    size, channels = model.config.DATA.IMAGE_SIZE, model.config.MODEL.IN_CHANNELS
    image = np.random.Generator(np.random.PCG64(0)).standard_normal((1, channels, size, size)).astype(np.float32)
    with paddle.no_grad():
        outputs = model.eval()(paddle.to_tensor(image))
    lines = [f'parameters {count_parameters(model):,}', f'digest     {checksum(state, {})}']
    for i, output in enumerate(outputs if isinstance(outputs, (list, tuple)) else [outputs]):
        values = output.numpy()
        lines.append(f'output {i}   {list(values.shape)}: mean {values.mean():.6f}, deviation {values.std():.6f}, least '
                     f'{values.min():.6f}, largest {values.max():.6f} at {int(values.argmax())}')
    return lines + [f'input      {list(image.shape)}, normal numbers of PCG64 with seed 0']


@exit_with_message
def main(argv=None):
    args = parse(argv)
    named = None if args.model else network_by_name(args.source)
    if named:
        args.model, args.source = named[0], named[1] or 'default'
    if not args.model:
        raise UserError(f'{args.source} names no network; wanted NAME=WEIGHTS, or --model NAME')
    if args.output.suffix not in ENDINGS:
        raise UserError(f'{args.output} ends in {args.output.suffix or "nothing"!r}; wanted {" or ".join(ENDINGS)}')
    if args.output.exists() and not args.force:
        raise UserError(f'{args.output} exists and is not overwritten; choose another name, or replace it with --force')
    if args.output.exists() and not was_converted(args.output):
        raise UserError(f'{args.output} exists and was not written by this command, so it is not replaced; choose another name')
    cfg = get_config(args.model, {**classifier_of(args.source), **(
        {} if args.num_classes is None else {'MODEL.NUM_CLASSES': args.num_classes})})
    model, _ = build_for_weights(with_preprocessing_of(cfg, args.source),
                                 lambda network, suited: load_whole(network, args.source, 'give its --num-classes', suited))
    state = to_torch(model, args.style or 'paddle')
    write(args.output, state, provenance(model.config, args))
    if any((read != state[name]).any() for name, read in read_weights(args.output).items()):
        raise UserError(f'{args.output} does not hold what was written to it; the disk may be failing')
    print(f'{args.output}  {args.output.stat().st_size:,} bytes, {len(state)} arrays of {model.config.MODEL.NAME}')
    if args.verify:
        print('\n'.join(describe(model, state)))


if __name__ == '__main__':
    main()
