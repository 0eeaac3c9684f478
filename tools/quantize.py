"""Quantise an export to 8 bits: python tools/quantize.py EXPORT --dataset folder --data-path DIR --output EXPORT_int8"""
import command_setup  # noqa: F401  (first: before Paddle is imported)

import functools
import re
import shlex
import sys
from pathlib import Path

import numpy as np

from image_classification.checkpoint import load_network, named_network
from image_classification.config import get_config
from image_classification.config.bounds import SHARE
from image_classification.config.options import ALL_OR_SOME, IMAGES, THREADS, Parser
from image_classification.datasets import DATASETS, get_dataset
from image_classification.datasets.classes import are_known, match_classes
from image_classification.datasets.files import labelled_folder, learned_folder
from image_classification.datasets.imagenet_names import names_to_show
from image_classification.datasets.pictures import find_images
from image_classification.deploy.by_name import NAMED
from image_classification.deploy.export import export_model
from image_classification.deploy.export_directory import ExportDirectory
from image_classification.deploy.formats.weights_int8 import FILES, quantize_weights
from image_classification.deploy.predictor import Predictor
from image_classification.deploy.quantize import METHODS, OPERATORS, quantize_export
from image_classification.errors import UserError, exit_with_message
from image_classification.files import temporary_directory
from image_classification.installation import words_of
from image_classification.models import network_by_name

HEAD = '| engine | precision | top-1 | agreement | MiB | ms, batch 1 | ms, batch 8 |\n|---|---|---|---|---|---|---|'

HEAD_WEIGHTS = '| engine | precision | top-1 | agreement | MiB |\n|---|---|---|---|---|'


def parse(argv):
    parser = Parser(description='Quantise to 8 bits, statically with ONNX Runtime, or only the weights with MNN or LiteRT. The '
                                'result is compared with the float network on labelled images before it is written.')
    parser.add_argument('model', help='an export with inference.onnx, inference.mnn or inference.tflite, a checkpoint '
                                      f'(.safetensors), {NAMED}')
    parser.add_argument('--weights', help='weights for a network given by name, instead of =WEIGHTS')
    parser.add_argument('--dataset', choices=DATASETS, default='folder', help='labelled images; its evaluation part is for the '
                                                                              'comparison; default: folder')
    parser.add_argument('--data-path', default='', help='where the data set is')
    parser.add_argument('--calibrate', metavar='FOLDER', help='pictures for calibration; default: those of the training part')
    parser.add_argument('--calibration-images', type=int, default=256, bounds=IMAGES, help='default: 256')
    parser.add_argument('--images', type=int, default=0, bounds=ALL_OR_SOME,
                        help='number of images for the comparison, evenly spaced; default: all')
    parser.add_argument('--output', help='directory to write; default: the export\'s name with _int8')
    parser.add_argument('--operators', default=','.join(OPERATORS),
                        help=f'operators to quantise; default: {",".join(OPERATORS)}')
    parser.add_argument('--exclude', nargs='*', default=[], metavar='NODE', help='nodes to leave in float32, with wildcards')
    parser.add_argument('--method', choices=METHODS, default='minmax', help='how to find the ranges of values; default: minmax')
    parser.add_argument('--min-agreement', type=float, default=0.95, bounds=SHARE,
                        help='smallest share of images that must keep their class; default: 0.95')
    parser.add_argument('--bf16', nargs='*', choices=['openvino', 'paddle_inference'], default=[],
                        help='also measure the export in bfloat16 with these engines')
    parser.add_argument('--threads', type=int, bounds=THREADS, help='threads for measuring the speed')
    parser.add_argument('--force', action='store_true', help='replace an earlier export in that directory')
    return parser.parse_args(argv)


def load_data(args, class_names, channels):
    """(pictures for calibration, pictures for comparison, labels of the latter). Pictures are read when accessed."""
    config = get_config(None, {'DATA.DATASET': args.dataset, 'DATA.DATA_PATH': args.data_path,
                               'MODEL.NUM_CLASSES': len(class_names)})
    test, learned = _parts(config, args, class_names, channels)
    chosen = EvenlyDrawn(test, args.images)
    if args.calibrate:
        files = find_images([args.calibrate], notes := [])
        for note in notes:
            print(note, file=sys.stderr)
        return [files[i] for i in _evenly(len(files), args.calibration_images)], chosen, chosen.labels
    return EvenlyDrawn(learned(), args.calibration_images), chosen, chosen.labels


def _parts(config, args, class_names, channels):
    """(data set for comparison, function that returns the one for calibration). Classes are matched by name."""
    if args.dataset == 'folder' and are_known(class_names) and class_names != names_to_show([], len(class_names)):
        test, notes = in_own_words(labelled_folder, config, channels, class_names, whole=False)
        learned = functools.partial(in_own_words, learned_folder, config, channels, class_names)
    else:
        test = in_own_words(get_dataset, config, False, channels)
        notes = [*test.notes, *match_classes(test, class_names, 'the network')]
        learned = functools.partial(in_own_words, get_dataset, config, True, channels)
    for note in notes:
        print(note, file=sys.stderr)
    return test, learned


def in_own_words(read, *args, **kwargs):
    """The data set that `read` returns. Its errors are reworded, because they name flags of the trainer."""
    try:
        return read(*args, **kwargs)
    except UserError as error:
        text = re.sub(r',? or (let -download fetch it|set -download)', '', str(error))
        text = text.replace('-data_path', '--data-path').replace('MODEL.NUM_CLASSES is', 'the network knows')
        raise UserError(re.sub(r'set -num_classes \d+', 'wanted the data set that it was trained for', text)) from None


class EvenlyDrawn:
    """A sequence of `count` evenly spaced pictures of a data set (0: all)."""

    def __init__(self, dataset, count):
        self._dataset, self._indices = dataset, _evenly(len(dataset), count)
        self.labels = dataset.labels[self._indices]

    def __len__(self):
        return len(self._indices)

    def __getitem__(self, number):
        if isinstance(number, slice):
            return [self._dataset.image(int(index)) for index in self._indices[number]]
        return self._dataset.image(int(self._indices[number]))


def _evenly(length, count):
    return np.linspace(0, length - 1, min(count or length, length)).round().astype(int)


def report(result):
    lines = [HEAD]
    for row in result['rows']:
        cells = [row['engine'], row['precision'], f'{row["top1"]:.2f} %', f'{100 * row["agreement"]:.1f} %',
                 f'{row["bytes"] / (1 << 20):.1f}', *(f'{value:.2f}' for value in row['ms'].values())]
        lines.append(f'| {" | ".join(cells)} |')
    worst = ', '.join(f'{name} {loss:.0f}' for name, loss in result['layers'][:5])
    return '\n'.join([*lines, f'the layers that lose most, signal to noise in dB: {worst}'])


@exit_with_message
def main(argv=None):
    args = parse(argv)
    named = network_by_name(args.model, args.weights)
    model = Path('export', named[0]) if named else Path(args.model)
    target = Path(args.output) if args.output else model.with_name(f'{model.stem}_int8')
    engines = [] if named else ExportDirectory(model).engines()
    if len(engines) == 1 and engines[0] in FILES:
        known = Predictor(model, engines[0])
        _, *compared = load_data(args, known.class_names, known.preprocess.channels)
        rows = quantize_weights(model, target, *compared, args.min_agreement, args.threads, args.force)
        lines = [f'| {engines[0]} | {row["precision"]} | {row["top1"]:.2f} % | {100 * row["agreement"]:.1f} % | '
                 f'{row["bytes"] / (1 << 20):.1f} |' for row in rows]
        print('\n'.join([HEAD_WEIGHTS, *lines]))
        return print(f'written: {target}')
    with temporary_directory() as scratch:
        if named or model.suffix == '.safetensors':
            network, class_names = named_network(*named) if named else load_network(model)
            known = Predictor.of_network(network, class_names)
            data = load_data(args, known.class_names, known.preprocess.channels)     # before the slow export
            model = Path(scratch) / 'export'
            export_model(network, model, class_names, 'onnx')
        else:
            known = Predictor(model, 'onnxruntime')
            data = load_data(args, known.class_names, known.preprocess.channels)
        result = quantize_export(model, target, *data, args.operators.split(','), args.exclude, args.method, args.min_agreement,
                                 args.threads, args.bf16, args.force)
    print(report(result))
    print(f'written: {target}; use it like any export: {shlex.join([*words_of("predict"), str(target)])} '
          'IMAGE')


if __name__ == '__main__':
    main()
