"""The whole way: look, split, a head on known features, a training of all layers, a test that decides nothing, an export."""
import os
import signal
import threading
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import paddle
import yaml

from image_classification.checkpoint import load_network, write_network
from image_classification.config import get_config
from image_classification.config.loading import nested
from image_classification.datasets import Preprocess
from image_classification.datasets.images import open_image
from image_classification.engine.best import BEST
from image_classification.engine.processes.distributed import Group
from image_classification.engine.run_directory import LAST
from image_classification.engine.trainer import train_or_evaluate
from image_classification.errors import UserError
from image_classification.files import check_new, write_atomically
from image_classification.fit.head import Features, choose_head, classifier_of
from image_classification.fit.plan import batch_size, image_size, make_plan, measure, recipe
from image_classification.fit.split import split, write_list, write_lists
from image_classification.fit.start import choose_start
from image_classification.fit.statistics import find_temperature, surest
from image_classification.fit.survey import lines, survey
from image_classification.fit.verdict import conclude
from image_classification.models import create_model
from image_classification.progress import progress_bar
from image_classification.weights import write_safetensors

_END = 40.0                                                        # seconds for the test, the export and the pictures of both
CLASSIFIER, RECIPE, HEAD = 'classifier.safetensors', 'fit.yaml', 'head.safetensors'


@dataclass
class Candidate:
    """A network that might be the answer, and its logits of the pictures that decide."""
    name: str
    network: paddle.nn.Layer
    logits: np.ndarray

    def top1(self, labels):
        return 100 * float((self.logits.argmax(1) == labels).mean())


def fit(root, output, minutes=10.0, network=None, size=None, test=None, seed=0, say=print):
    """Make a classifier of the pictures in a folder.

    Args:
        root: DIR/<class>/<pictures>, or DIR/train/<class>/... with DIR/val or DIR/test.
        output: a directory that must not exist yet, or be empty.
        minutes: for everything together.
        network: a model's name; by default the best whose published weights can be had.
        size: side of its input in pixels; by default its own, or less for small pictures.
        test: another folder of the same classes, whose pictures decide nothing.
        say: takes a line for the user.
    Returns:
        {'top1', 'interval', 'images', 'export', 'checkpoint', ...} of the pictures that decided nothing.
    Raises:
        UserError: pictures that nothing can be learned from, a directory that holds something.
    """
    deadline, output = time.monotonic() + 60 * minutes, Path(output)
    check_new(output, 'a run')
    try:
        return _fit(Path(root), output, deadline, network, size, test, seed, say)
    except OSError as error:
        raise UserError(f'{error.filename or output}: {error.strerror or error}; wanted pictures that can be read, and space and '
                        'permission to write') from error


def _fit(root, output, deadline, network, size, test, seed, say):
    found = survey(root, test)
    for line in lines(found):
        say(line)
    training, validation, tested = split(found)
    say(f'split       {len(training)} pictures to learn, {len(validation)} to decide between settings, {len(tested)} to test')
    paddle.seed(seed)
    start = choose_start(network)
    say(f'start       {start.reason}')
    output.mkdir(parents=True, exist_ok=True)
    lists = output / 'pictures'
    write_lists(lists, found.classes, training, validation, tested)
    job = _Job(found, training, validation, output, lists, start, size, seed, say, deadline)
    candidates = job.heads() + job.tuned()
    if not candidates:
        raise UserError('the training was ended before it had anything to keep; wanted more --minutes')
    best = candidates[surest([one.logits for one in candidates], job.deciding)]
    if len(candidates) > 1:
        say(f'taken       {best.name}, by the {len(validation)} pictures that decide')
    cfg = _with(best.network.config, {'TEMPERATURE': round(find_temperature(best.logits, job.deciding), 4)})
    write_network(output / CLASSIFIER, best.network, cfg, found.classes)
    return conclude(output, output / CLASSIFIER, found, tested, training, say)


class _Job:
    """What the candidates are made of."""

    def __init__(self, found, training, validation, output, lists, start, size, seed, say, deadline):
        self.found, self.training, self.validation, self.output, self.lists = found, training, validation, output, lists
        self.start, self.seed, self.say, self.deadline = start, seed, say, deadline
        self.side = image_size(start.network.config.DATA.IMAGE_SIZE, found.pictures, not start.pretrained, size)
        self.deciding = labels_of(validation)
        self.head = None

    def heads(self):
        """[the published network with a classifier of its own for these classes]; [] where it knows nothing yet."""
        if not self.start.pretrained:
            return []
        begun, network = time.monotonic(), self.start.network
        preprocess = Preprocess.from_config(_with(network.config, {'DATA.IMAGE_SIZE': self.side}))
        pictures = self._affordable()
        with progress_bar(total=len(pictures) + len(self.validation), label='features') as bar:
            features = Features(network, preprocess)
            known, held = (features.of((open_image(picture.path, 3) for picture in part), bar.update)
                           for part in (pictures, self.validation))
        labels, count = labels_of(pictures), len(self.found.classes)
        counts = np.bincount(labels, minlength=count)
        weight, bias, logits, again = choose_head(known, labels, count, held, self.deciding, counts.mean() / np.maximum(counts, 1))
        network = self._with_head(weight, bias)
        self._keep_head(network)
        # What is learned from the deciding pictures as well is no worse; how good it is, the others' logits say.
        _set_head(network, *again(np.concatenate([known, held]), np.concatenate([labels, self.deciding])))
        candidate = Candidate('the published network with a new classifier', network, logits)
        self.say(f'head        {candidate.top1(self.deciding):.1f} % of the deciding pictures after '
                 f'{time.monotonic() - begun:.0f} s: the published network, with a classifier on its features')
        return [candidate]

    def _affordable(self):
        """The training pictures or, of very many, a few of each class: features of half the time at most."""
        most = max(len(self.found.classes) * 5, int(0.4 * (self.deadline - time.monotonic()) / 0.03))
        step = -(-len(self.training) // most)
        return self.training[::step]

    def _with_head(self, weight, bias):
        """The start's network for these classes and this size, with that classifier."""
        values = {'MODEL.NUM_CLASSES': len(self.found.classes), 'DATA.IMAGE_SIZE': self.side}
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')                        # that the classifier starts afresh: it gets its weights below
            network = create_model(_with(self.start.network.config, values), pretrained=self.start.pretrained)
        _set_head(network, weight, bias)
        network.eval()
        return network

    def _keep_head(self, network):
        """What the training of all layers starts from."""
        self.head = self.output / HEAD
        write_safetensors(self.head, {name: tensor.numpy() for name, tensor in network.state_dict().items()}, {})

    def tuned(self):
        """[the network of a training of all layers] or, where there is no time for one, []."""
        network = self.start.network
        batch = batch_size(len(self.training))
        seconds = measure(network, self.side, batch)
        left = self.deadline - time.monotonic() - _END
        plan = make_plan(left, len(self.training), len(self.validation), self.side, batch, seconds, fresh=not self.head)
        if plan is None:
            if not self.head:
                raise UserError(f'{left:.0f} s are left for a training, which has no 20 steps in them at {self.side} pixels; wanted '
                                'more --minutes, or a smaller --size')
            self.say('training    none: the time is up')
            return []
        self._write_recipe(plan)
        self.say(f'training    {plan.epochs} epochs of {plan.images} pictures at {plan.size} px, {plan.steps()} steps of {plan.batch}, '
                 f'about {plan.seconds_in_all(len(self.validation)) / 60:.1f} minutes; Ctrl-C ends it and keeps '
                 'the best so far')
        candidates = []
        for path in self._train():
            tuned, _ = load_network(path)
            candidates.append(Candidate(f'the training of all layers ({path.stem})', tuned, logits_of(tuned, self.validation)))
        if candidates:
            shares = ' and '.join(f'{one.top1(self.deciding):.1f} %' for one in candidates)
            self.say(f'training    {shares} of the deciding pictures')
        return candidates

    def _write_recipe(self, plan):
        """fit.yaml: what `main_single_gpu.py -cfg` repeats, and the list of the pictures that it learns."""
        cfg = self.start.network.config
        chosen = _evenly(self.training, plan.images, self.seed)
        rows = _balanced(chosen, len(self.found.classes), self.seed)
        write_list(self.lists, 'train', rows)
        keys = recipe(plan, bool(self.head))
        keys.update({'DATA.DATASET': 'imagenet2012', 'DATA.DATA_PATH': str(self.lists.resolve()), 'SEED': self.seed,
                     'MODEL.NUM_CLASSES': len(self.found.classes), 'SAVE': str((self.output / 'runs').resolve())})
        keys.update({f'DATA.{key}': list(cfg.DATA[key]) if isinstance(cfg.DATA[key], (list, tuple)) else cfg.DATA[key]
                     for key in ('CROP_PCT', 'INTERPOLATION', 'IMAGENET_MEAN', 'IMAGENET_STD')})
        if self.head:
            keys['PRETRAINED'] = str(self.head.resolve())
        tree = {'BASE': [cfg.MODEL.NAME], **nested(keys)}
        text = '# What tools/fit.py has trained: python image_classification/main_single_gpu.py -cfg THIS_FILE repeats it.\n'
        text += yaml.safe_dump(tree, sort_keys=False, allow_unicode=True)
        write_atomically(self.output / RECIPE, lambda file: file.write_text(text, encoding='utf-8'))

    def _train(self):
        """The best and the last checkpoint of the training, as far as they are there."""
        cfg = get_config(self.output / RECIPE)
        # Where the machine is slower than it was when the plan was made, the training ends as by Ctrl-C.
        timer = threading.Timer(max(1.0, self.deadline - time.monotonic()), os.kill, [os.getpid(), signal.SIGINT])
        timer.start()
        try:
            train_or_evaluate(cfg, Group())
        except SystemExit:                                         # by which the trainer has saved
            self.say('training    ended early: going on with the best so far')
        finally:
            timer.cancel()
        return [path for name in (LAST, BEST) for path in (self.output / 'runs').glob(f'*/{name}')]


def labels_of(pictures):
    return np.array([picture.label for picture in pictures])


def _set_head(network, weight, bias):
    layer = classifier_of(network)
    layer.weight.set_value(weight.reshape(layer.weight.shape))
    layer.bias.set_value(bias)


def logits_of(network, pictures, batch=32):
    """(N, classes) float32 of pictures as the network's configuration prepares them."""
    preprocess, found = Preprocess.from_config(network.config), []
    network.eval()
    with paddle.no_grad():
        for start in range(0, len(pictures), batch):
            inputs = np.stack([preprocess(open_image(picture.path, 3)) for picture in pictures[start:start + batch]])
            found.append(network.class_logits(network(paddle.to_tensor(inputs))).numpy())
    return np.concatenate(found)


def _with(cfg, values):
    cfg = cfg.clone()
    cfg.defrost()
    cfg.merge_from_list([word for pair in values.items() for word in pair])
    cfg.freeze()
    return cfg


def _evenly(pictures, count, seed):
    """`count` pictures, of each class the same share."""
    if count >= len(pictures):
        return pictures
    order = np.random.RandomState(seed).permutation(len(pictures))
    ranks, seen = np.zeros(len(pictures)), {}
    sizes = np.bincount([picture.label for picture in pictures])
    for i in order:
        label = pictures[i].label
        seen[label] = seen.get(label, 0) + 1
        ranks[i] = seen[label] / sizes[label]
    return [pictures[i] for i in sorted(np.argsort(ranks, kind='stable')[:count])]


def _balanced(pictures, classes, seed):
    """The pictures, those of rarer classes several times: as often as the root of how much rarer they are."""
    counts = np.bincount([picture.label for picture in pictures], minlength=classes)
    if counts.min() * 2 > counts.max():
        return pictures
    draw, rows = np.random.RandomState(seed), list(pictures)
    for label, count in enumerate(counts):
        own = [picture for picture in pictures if picture.label == label]
        more = int(round(count * (np.sqrt(counts.max() / count) - 1))) if count else 0
        rows += [own[i] for i in draw.randint(0, count, more)] if more else []
    return rows
