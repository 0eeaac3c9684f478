"""Check whether phone engines give the same answers as the networks, on real pictures. Prints a row per network and engine:

    python tools/maintenance/try_phones.py --pictures DIR [--engines mnn ncnn] [--size 64] [--int8] [NAME ...]

DIR holds train/<class>/ and val/<class>/, as for training. Each network (by default every classifier) gets random weights,
batch norm statistics from pictures, and a classifier from ridge regression on 500 pictures, so that its answers mean something.
It is exported for each engine, whose outputs must agree within 1e-3 of their deviation. Then network and engines classify 1,000
other pictures. With --int8, MNN and LiteRT with 8-bit weights follow. Each row is printed as soon as it is known. The command
exits with 1 if a float32 answer differs or an export fails. `efficientvit_mit_*` need a `--checkpoint`: with random weights, their
attention divides by sums close to 0, and the smallest rounding changes the output.
"""
import argparse
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import command_setup  # noqa: F401, E402  (first: before Paddle is imported)

import numpy as np  # noqa: E402
import paddle  # noqa: E402
from paddle import nn  # noqa: E402

import image_classification as ic  # noqa: E402
from image_classification.datasets import get_dataset  # noqa: E402
from image_classification.deploy.engines import FORMATS, PHONE_ENGINES, available, open_engine  # noqa: E402
from image_classification.deploy.export import export_model  # noqa: E402
from image_classification.deploy.export_directory import ExportDirectory  # noqa: E402
from image_classification.deploy.formats.weights_int8 import FILES, quantize_weights  # noqa: E402
from image_classification.errors import UserError, exit_with_message  # noqa: E402
from image_classification.files import temporary_directory  # noqa: E402

LEAST = {'inception_v2': 139, 'inception_v3': 139, 'inception_v4': 139, 'inception_resnet_v2': 139, 'xception': 139}
TIE = 1e-4
HEAD = '| network | px | engine | largest difference / deviation | same answer | top-1 |\n|---|---|---|---|---|---|'


def classifiers():
    """The names of all networks that classify: those with a classifier to replace."""
    return [name for name in ic.list_models() if ic.get_config(name).MODEL.TYPE.lower() != 'blazeface'
            and not name.endswith(('_det', '_yolo'))]


def awake(network):
    """Set to 1 what starts close to 0: layer scales, and norms' weights at the ends of residual branches. Otherwise these branches
    would hardly change the outputs that are compared. A class token becomes random. Returns the network."""
    for name, parameter in network.named_parameters():
        value = parameter.numpy()
        if 'bias' not in name and value.max() == value.min() and abs(value).max() <= 0.01:
            parameter.set_value(paddle.ones_like(parameter))
    if hasattr(network, 'cls_token'):                              # at 0, all tokens score the same and any may be kept
        network.cls_token.set_value(paddle.randn(network.cls_token.shape))
    return network


def settle(network, batches):
    """Set batch norm statistics to those of `batches`, and the network to evaluation mode."""
    for layer in network.sublayers():
        if isinstance(layer, (nn.BatchNorm1D, nn.BatchNorm2D)):
            layer._momentum = 0.5                                  # so that they settle quickly
    network.train()
    for _ in range(4):
        for batch in batches:
            network(batch)
    network.eval()


class Subject:
    """A network and its pictures."""

    def __init__(self, name, folder, size, count, checkpoint=None):
        size = max(size, LEAST.get(name, 0))
        self.config = ic.get_config(name, {'MODEL.NUM_CLASSES': 10, 'DATA.IMAGE_SIZE': size, 'DATA.DATASET': 'folder',
                                           'DATA.DATA_PATH': folder, 'DATA.CROP_PCT': 1.0})
        self.learned, self.others = (get_dataset(self.config, is_train) for is_train in (True, False))
        rng = np.random.default_rng(0)
        self.known = rng.permutation(len(self.learned))[:500]
        chosen = rng.permutation(len(self.others))[:count]
        self.images, self.labels = self._inputs(self.others, chosen), self.others.labels[chosen]
        paddle.seed(0)
        if checkpoint:
            self.network = ic.create_model(self.config, pretrained=checkpoint).eval()
        else:
            self.network = awake(ic.create_model(self.config))
            self._settle()

    def _inputs(self, dataset, chosen):
        return np.stack([dataset.preprocess(dataset.image(int(i))) for i in chosen])

    def pictures(self, count):
        return [self.learned.image(int(i)) for i in self.known[:count]]

    @paddle.no_grad()
    def _settle(self):
        """Set batch norm statistics from pictures, and a classifier that knows the classes a little."""
        network, seen = self.network, self._inputs(self.learned, self.known[:64])
        seen[::4] = np.random.default_rng(1).standard_normal(seen[::4].shape)    # exports are compared on noise, too
        known, labels = self._inputs(self.learned, self.known), self.learned.labels[self.known]
        settle(network, [paddle.to_tensor(seen[start:start + 32]) for start in range(0, len(seen), 32)])
        layer, given = network, []
        for part in network.classifier_layers[0].split('.'):
            layer = getattr(layer, part)
        *_, layer = [part for part in layer.sublayers(include_self=True) if isinstance(part, (nn.Linear, nn.Conv2D))]
        hook = layer.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0].numpy().reshape([len(inputs[0]), -1])))
        for start in range(0, len(known), 50):
            network(paddle.to_tensor(known[start:start + 50]))
        hook.remove()
        features = np.concatenate(given).astype(np.float64)
        centre = features.mean(0) if layer.bias is not None else np.zeros(features.shape[1])
        features -= centre
        similar = features @ features.T
        ridge = 0.05 * similar.trace() / len(labels) * np.eye(len(labels))
        weight = features.T @ np.linalg.solve(similar + ridge, 10.0 * np.eye(10)[labels] - 1)
        shape = layer.weight.shape
        layer.weight.set_value((weight if shape == list(weight.shape) else weight.T.reshape(shape)).astype(np.float32))
        if layer.bias is not None:
            layer.bias.set_value((-centre @ weight).astype(np.float32))

    @paddle.no_grad()
    def logits(self):
        return np.concatenate([self.network(paddle.to_tensor(self.images[start:start + 50])).numpy()
                               for start in range(0, len(self.images), 50)])


def compared(logits, found):
    """(answers in words, whether they are right). An answer may differ where the network is undecided: its logits for both
    classes differ by less than TIE of their deviation."""
    wanted, rows = logits.argmax(1), np.arange(len(logits))
    lost = ((logits[rows, wanted] - logits[rows, found]) / logits.std())[wanted != found]
    words = f'{len(logits) - len(lost)} of {len(logits)}'
    ties = len(lost) and lost.max() < TIE
    return words + (f', the rest ties (within {lost.max():.0e})' if ties else ''), bool(ties or not len(lost))


def rows_of(name, args):
    """Yield (cells of a row, whether the result is right)."""
    subject = Subject(name, args.pictures, args.size, args.count, args.checkpoint)
    logits, size = subject.logits(), subject.config.DATA.IMAGE_SIZE
    wanted = logits.argmax(1)
    yield [name, size, 'paddle', '-', '-', _percent(wanted == subject.labels)], True
    alone = [engine for engine in args.engines if engine == 'paddlelite']      # it needs another program format
    together = [engine for engine in args.engines if engine not in alone]
    for engines in filter(None, (together, alone)):
        with temporary_directory() as scratch:
            directory = Path(scratch) / 'export'
            try:
                export_model(subject.network, directory, format=[FORMATS[engine] for engine in engines], fixed_size=True)
            except UserError as error:
                yield [name, size, ', '.join(engines), str(error), '-', '-'], False
                continue
            content = ExportDirectory(directory).read()['engines']
            for engine in engines:
                found = open_engine(directory, engine, threads=1).run(subject.images)[0].argmax(1)
                (words, right), difference = compared(logits, found), content[engine]['differences'][1]['relative']
                yield [name, size, engine, f'{difference:.1e}', words, _percent(found == subject.labels)], right
            for engine in FILES if args.int8 else ():
                if engine in engines:
                    yield _int8(subject, directory, Path(scratch), engine, logits), True


def _int8(subject, directory, scratch, engine, logits):
    """The row for an engine with 8-bit weights."""
    alone, target = scratch / engine, scratch / f'{engine}_int8'
    alone.mkdir()
    for name in (FILES[engine], 'inference.yaml'):
        shutil.copy(directory / name, alone)
    cells = [subject.config.MODEL.NAME, subject.config.DATA.IMAGE_SIZE, f'{engine}, weights int8', '-']
    try:
        quantize_weights(alone, target, subject.pictures(1), [0], 0.0, 1)
        found = open_engine(target, engine, threads=1).run(subject.images)[0].argmax(1)
    except UserError as error:
        return [*cells[:3], str(error), '-', '-']
    return [*cells, compared(logits, found)[0], _percent(found == subject.labels)]


def _percent(right):
    return f'{100 * np.mean(right):.1f} %'


@exit_with_message
def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('names', nargs='*', metavar='NAME')
    parser.add_argument('--pictures', required=True)
    parser.add_argument('--engines', nargs='+', choices=PHONE_ENGINES,
                        default=[name for name in PHONE_ENGINES if name in available()])
    parser.add_argument('--size', type=int, default=64)
    parser.add_argument('--count', type=int, default=1000)
    parser.add_argument('--int8', action='store_true')
    parser.add_argument('--checkpoint', help='of one NAME, trained on these classes, instead of random weights')
    args = parser.parse_args(argv)
    good = True
    print(HEAD, flush=True)
    for name in args.names or classifiers():
        for cells, right in rows_of(name, args):
            print('| ' + ' | '.join(map(str, cells)) + ' |', flush=True)
            good = good and right
    sys.exit(not good)


if __name__ == '__main__':
    main()
