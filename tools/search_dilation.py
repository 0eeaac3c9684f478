"""Find the dilations of an IC-ResNet from a trained supernet: python tools/search_dilation.py output/<run>/best.safetensors"""
import command_setup  # noqa: F401  (first: before Paddle is imported)

import os
import shlex
from pathlib import Path

from image_classification.checkpoint import read_checkpoint
from image_classification.config import Parser, get_config
from image_classification.config.bounds import within
from image_classification.errors import UserError, exit_with_message
from image_classification.installation import tool, words_of
from image_classification.ic_resnet import inherit_weights, search_dilations, write_pattern
from image_classification.models import build_model, network_by_name
from image_classification.weights import load_state, read_weights, write_safetensors

HINT = f'Train a supernet: {tool("train")} -cfg ic_resnet50 ... -opts MODEL.IC.SUPERNET_DILATION 4.'
SIZES = {'MODEL.NUM_CLASSES': 'fc.weight', 'MODEL.IN_CHANNELS': 'conv1.weight'}  # both are (., size, ...)


def parse(argv):
    parser = Parser(description='Choose the dilations of each 3x3 convolution of an IC-ResNet by efficient '
                                                 'dilation optimization (EDO), from the weights of a supernet.')
    parser.add_argument('checkpoint', help='an IC-ResNet trained with -opts MODEL.IC.SUPERNET_DILATION 4; or NAME=FILE for '
                                           'weights only, e.g. ic_resnet50=weights.safetensors')
    parser.add_argument('--model', help='name of the network, instead of NAME=')
    parser.add_argument('--output', help='.json file for the pattern; default: pattern.json beside the checkpoint')
    parser.add_argument('--max-dilation', type=int, default=0, bounds=within(0, 64),
                        help='largest dilation to choose; default: that of the supernet')
    parser.add_argument('--inherit', metavar='FILE', help='.safetensors file to write the weights of the found network to')
    return parser.parse_args(argv)


def load(args):
    """(configuration of the supernet, its weights {name: array})"""
    if args.model:
        state = read_weights(args.checkpoint)
        sizes = {key: state[name].shape[1] for key, name in SIZES.items() if name in state and state[name].ndim > 1}
        cfg = get_config(args.model, sizes)
    else:
        checkpoint = read_checkpoint(args.checkpoint)
        cfg, state = checkpoint.cfg, checkpoint.ema or checkpoint.model
    if cfg.MODEL.TYPE.lower() != 'ic_resnet':
        raise UserError(f'{args.checkpoint} is of {cfg.MODEL.NAME}; wanted an IC-ResNet. {HINT}')
    if not args.model and not cfg.MODEL.IC.SUPERNET_DILATION:
        raise UserError(f'{args.checkpoint} is no supernet: its MODEL.IC.SUPERNET_DILATION is 0. {HINT}')
    return cfg, state


def check_names(checkpoint, output, inherit):
    """Raise UserError for output names that the trainer could not read, or that cannot be written."""
    for flag, path, ending in (('--output', output, '.json'), ('--inherit', inherit, '.safetensors')):
        if path and path.suffix != ending:
            raise UserError(f'{flag} is {path}; wanted a name that ends in {ending}')
        if path and path.exists() and os.path.realpath(path) == os.path.realpath(checkpoint):
            raise UserError(f'{flag} is {path}, the checkpoint itself, which is not overwritten; choose another name')
        if path and not path.parent.is_dir():
            raise UserError(f'{flag} is {path}; there is no directory {path.parent}')


def found_config(cfg, pattern):
    """The configuration of the found network: the supernet's, with the pattern file."""
    cfg = cfg.clone()
    cfg.defrost()
    cfg.MODEL.IC.SUPERNET_DILATION, cfg.MODEL.IC.PATTERN = 0, str(pattern)
    cfg.freeze()
    return cfg


def table(found):
    """A table with one line per convolution. Its last two columns are shares of the sum of all absolute weights."""
    rows = [('convolution', 'channels', 'branches', 'dilated', 'kept', 'kept undilated')]
    for conv in found:
        channels = len(conv.order)
        undilated = sum(count for h, w, count in conv.branches if h == w == 1)
        rows.append((conv.name, str(channels), str(len(conv.branches)), f'{1 - undilated / channels:.1%}',
                     f'{conv.kept:.1%}', f'{conv.undilated:.1%}'))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return '\n'.join('  '.join([row[0].ljust(widths[0]), *(text.rjust(width) for text, width in zip(row[1:], widths[1:]))])
                     for row in rows)


def training_command(args, cfg, pattern):
    """The command that trains the found network, with the configuration of the supernet's run if that is available."""
    config = Path(args.checkpoint).with_name('config.yaml')
    words = words_of('train')
    options = ['MODEL.IC.SUPERNET_DILATION', '0', 'MODEL.IC.PATTERN', str(pattern)]
    if not args.model and config.is_file():
        words += ['-cfg', str(config)]
    else:
        words += ['-cfg', cfg.MODEL.NAME, '-num_classes', str(cfg.MODEL.NUM_CLASSES)]
        options += ['MODEL.IC.DEPTHS', str(cfg.MODEL.IC.DEPTHS)]
    if args.inherit or cfg.PRETRAINED:
        words += ['-pretrained', args.inherit or '']               # not the supernet's initial weights
    if cfg.RESUME:
        words += ['-resume', '']
    return shlex.join([*words, '-opts', *options])


@exit_with_message
def main(argv=None):
    args = parse(argv)
    named = network_by_name(args.checkpoint)
    if named and named[1]:
        args.model, args.checkpoint = named
    output = Path(args.output) if args.output else Path(args.checkpoint).with_name('pattern.json')
    inherit = Path(args.inherit) if args.inherit else None
    check_names(args.checkpoint, output, inherit)
    cfg, state = load(args)
    found, depths = search_dilations(state, args.max_dilation), list(cfg.MODEL.IC.DEPTHS)
    if len(found) != sum(depths):
        raise UserError(f'{args.checkpoint} has {len(found)} bottlenecks; {cfg.MODEL.NAME} has {sum(depths)}, in stages of '
                        f'{depths}. Give its own name to --model.')
    write_pattern([conv.branches for conv in found], output)
    print(table(found))
    print(f'pattern: {output}')
    if inherit:
        model = build_model(found_config(cfg, output))
        load_state(model, inherit_weights(state, found), args.checkpoint)
        write_safetensors(inherit, {name: tensor.numpy() for name, tensor in model.state_dict().items()}, {})
        print(f'inherited weights: {inherit}')
    print(f'train the found network: {training_command(args, cfg, output.resolve())}')


if __name__ == '__main__':
    main()
