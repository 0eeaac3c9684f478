"""Export a network for other programs: python tools/export.py output/<run>/best.safetensors --format onnx"""
import command_setup  # noqa: F401  (first: before Paddle is imported)

import shlex
import sys
from pathlib import Path

from image_classification.checkpoint import load_network, named_network
from image_classification.config import BOUNDS, Parser, get_config
from image_classification.deploy.engines.paddle_lite import VARIABLE
from image_classification.deploy.export import FORMATS, TARGETS, export_model
from image_classification.deploy.export_directory import ExportDirectory
from image_classification.errors import UserError, exit_with_message
from image_classification.installation import words_of
from image_classification.layers import FeatureExtractor
from image_classification.models import build_model, network_by_name


def parse(argv):
    parser = Parser(description='Export a network for Paddle Inference, ONNX Runtime, OpenVINO or phones, with '
                                                 'inference.yaml, and check that the results in each of them agree.')
    parser.add_argument('model', nargs='?', help='a checkpoint, e.g. output/<run>/best.safetensors; the NAME of a network; or '
                                                 'NAME=WEIGHTS with a tag, default (its first tag), an address or a file')
    parser.add_argument('--model', dest='name', help='the NAME of a network, as an option')
    parser.add_argument('--weights', help='weights for a network given by name, instead of =WEIGHTS')
    parser.add_argument('--num-classes', type=int, bounds=BOUNDS['MODEL.NUM_CLASSES'], help='for a network by its name')
    parser.add_argument('--output', help='directory to write; default: export beside the checkpoint, or export/<name>; '
                                         'with --features, _features is added')
    parser.add_argument('--format', default='paddle', metavar='FORMAT[,FORMAT]',
                        help=f'{", ".join(FORMATS)}, or several of them; pdmodel is the older form of paddle; default: paddle')
    parser.add_argument('--features', nargs='?', const='all', metavar='INDICES',
                        help='output feature maps instead of logits: of all levels, or e.g. 1,2,3 (0 is the finest)')
    parser.add_argument('--softmax', action='store_true', help='output probabilities instead of logits')
    parser.add_argument('--preprocess', action='store_true',
                        help='take RGB pixels as uint8 (B, H, W, 3); the graph scales and normalizes them')
    parser.add_argument('--image-size', type=int, bounds=BOUNDS['DATA.IMAGE_SIZE'],
                        help='side of the square input in pixels; default: that of the training')
    parser.add_argument('--fixed-size', action='store_true',
                        help='fix the image size and the batch size, 1, as OpenCV, phones and NPUs need it')
    parser.add_argument('--size', type=int, bounds=BOUNDS['DATA.IMAGE_SIZE'], metavar='PIXELS',
                        help='short for --image-size PIXELS --fixed-size: fixed shapes, folded, in every format')
    parser.add_argument('--for', dest='target', choices=TARGETS,
                        help='engine of the ONNX file: the form that is fastest in ONNX Runtime, or operators that others also '
                             'have; default: onnxruntime, or others with a fixed size')
    parser.add_argument('--allow-unsupported', action='store_true',
                        help='with format lite, also write operators that Paddle-Lite does not document')
    parser.add_argument('--force', action='store_true', help='replace an earlier export in that directory')
    args = parser.parse_args(argv)
    if args.size is not None:
        if args.image_size not in (None, args.size):
            raise UserError(f'--size {args.size} and --image-size {args.image_size}; wanted one of them')
        args.image_size, args.fixed_size = args.size, True
    if args.target and not {'onnx', 'triton'}.intersection(args.format.split(',')):
        raise UserError(f'--for {args.target} with --format {args.format}, which writes no ONNX file; wanted onnx or triton among '
                        'the formats')
    return args


def load(args):
    """(network, class names, default directory) for the arguments."""
    levels = None if args.features in (None, 'all') else [level(word) for word in args.features.split(',')]
    model, class_names, directory = load_network_of(args)
    if args.features is None:
        return model, class_names, directory
    return FeatureExtractor(model, levels), None, directory.with_name(f'{directory.name}_features')


def level(word):
    try:
        return int(word)
    except ValueError:
        raise UserError(f'--features has {word!r}; wanted numbers of levels such as 1,2,3, or, for all levels, --features at '
                        'the end of the line') from None


def load_network_of(args):
    """Like `load`, but without regard to --features."""
    if bool(args.model) == bool(args.name):
        raise UserError('wanted either a checkpoint or the name of a network')
    named = (args.name, args.weights) if args.name else network_by_name(args.model, args.weights)
    if not named:
        if args.num_classes is not None:
            raise UserError('--num-classes is for a network given by name; a checkpoint has its own number, so leave it out')
        return *load_network(args.model), Path(args.model).parent / 'export'
    name, weights = named
    if weights:
        model, class_names = named_network(name, weights, num_classes=args.num_classes,
                                           advice='give the --num-classes of the weights')
    else:
        classes = {} if args.num_classes is None else {'MODEL.NUM_CLASSES': args.num_classes}
        model, class_names = build_model(get_config(name, classes)), None
        print('warning: no weights given, the exported network is untrained', file=sys.stderr)
    return model, class_names, Path('export') / model.config.MODEL.NAME


@exit_with_message
def main(argv=None):
    args = parse(argv)
    model, class_names, directory = load(args)
    directory = Path(args.output) if args.output else directory
    export_model(model, directory, class_names, args.format, args.softmax, args.image_size, args.preprocess,
                 args.allow_unsupported, args.fixed_size, args.force, args.target)
    for path in sorted(path for path in directory.rglob('*') if path.is_file()):
        print(f'{path}  {path.stat().st_size:,} bytes')
    report(ExportDirectory(directory).read(), directory)


def report(description, directory):
    """Print a summary of the export from inference.yaml."""
    if 'onnx' in description:
        nodes = description['onnx']['nodes']
        print(f'ONNX opset {description["onnx"]["opset"]}: {nodes["converted"]} nodes, {nodes["folded"]} when folded; for '
              f'{"ONNX Runtime" if description["for"] == "onnxruntime" else "ONNX Runtime and others"}')
    if 'openvino' in description:
        settings = ', '.join(f'{key} {value}' for key, value in description['openvino']['compile_with'].items())
        print(f'in your own program, compile it for OpenVINO with {settings}; otherwise it may compute in bfloat16')
    if 'lite' in description:
        found = description['lite']
        print(f'for Paddle-Lite: cd {shlex.quote(str(directory))} && {found["command"]}')
        if found['converted']:
            print('inference.nb: converted by the opt of Paddle-Lite')
        else:
            print(f'not converted or run in Paddle-Lite: no Python 3.7 with paddlelite; set {VARIABLE} to one')
        for what in ('extra_operators', 'unsupported_operators'):
            print(f'{what.replace("_", " ")}: {", ".join(found[what]) or "none"}')
    for batch, difference in description['differences'].items():
        print(f'batch {batch}: largest difference from the network {difference["absolute"]:.1e}, '
              f'{difference["relative"]:.1e} of the output\'s standard deviation')
    for engine, found in description['engines'].items():
        values = (f'{difference["relative"]:.1e} at batch {batch}' for batch, difference in found['differences'].items())
        print(f'{engine}: {", ".join(values)}')
        if 'onednn_problem' in found:
            how = 'with oneDNN for convolutions only' if found['onednn'] == 'convolutions' else 'without oneDNN'
            print(f'{engine} runs {how}: {found["onednn_problem"]}')
    given, output = description['input'], description['output']
    print(f'input: {given["dtype"]} {given["layout"]}, {given["image_size"]} x {given["image_size"]} pixels, '
          f'{"but others work, too" if given["free_size"] else "no other size"}'
          f'{", one picture at a time" if given.get("batch") else ""}')
    if output['kind'] not in ('logits', 'probabilities'):
        for i, (name, shape) in enumerate(zip(output['names'], output['shapes'])):
            stride = f', stride {output["strides"][i]}' if output['kind'] == 'maps' else ''
            print(f'output {i}: {name} {shape}{stride}')
        return
    print(f'classify an image: {shlex.join([*words_of("predict"), str(directory)])} IMAGE')


if __name__ == '__main__':
    main()
