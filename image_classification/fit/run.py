"""The steps of `fit`: survey the pictures, split them, train a head on published features, train all layers, test, export."""
import contextlib
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import paddle

from image_classification.checkpoint import write_network
from image_classification.config import BOUNDS, changed, check
from image_classification.config.bounds import above, shortened, whole
from image_classification.config.defaults import SIDE
from image_classification.cpu.build_operators import build_in_background
from image_classification.engine.processes.distributed import gpu_count
from image_classification.engine.run_directory import LAST
from image_classification.errors import UserError
from image_classification.files import check_new, set_aside
from image_classification.fit.features import Features, best_of, labels_of, set_head, thumbnails
from image_classification.fit.head import choose_strength, means_the_same
from image_classification.fit.plan import CHANGES, MIRRORED, image_size
from image_classification.fit.split import listed, split, write_lists
from image_classification.fit.start import choose_start, larger_names, published
from image_classification.fit.statistics import find_temperature, surest
from image_classification.fit.survey import lines, survey
from image_classification.fit.training import OUTPUT, RECIPE, RUNS
from image_classification.fit.tuning import LAST_EPOCHS, Candidate, Tuning
from image_classification.fit.verdict import EXPORT, MISTAKES, conclude
from image_classification.names.text import say

_END = 40.0                                                        # seconds reserved for export and drawings, without the test
_PER_PICTURE = 0.05                                                # seconds for the features of a picture
_SURELY = 1.0                                                      # standard errors by which a later candidate must be better
_LONGEST = 1_000                                                   # longer paths are shortened in messages
_TURNED = 200                                                      # pictures used to find symmetries
MINUTES, SIDES = above(0, most=100_000), whole(32, SIDE)
CLASSIFIER, HEAD = 'classifier.safetensors', 'head.safetensors'
_ENTRIES = {'pictures', RUNS, LAST_EPOCHS, CLASSIFIER, HEAD, RECIPE, OUTPUT, EXPORT, MISTAKES, 'per_class.csv',
            'confusion_matrix.png'}


def fit(root, output, minutes=10.0, network=None, size=None, test=None, seed=0, say=say, force=False):
    """Train a classifier for the pictures in a folder.

    Args:
        root: DIR/<class>/<pictures>, or DIR/train/<class>/... with DIR/val or DIR/test.
        output: output directory, which must be new or empty.
        minutes: time for everything together.
        network: name of a model; by default the best one whose published weights are available.
        size: side of the network's input in pixels; by default the model's own, or less for small pictures.
        test: another folder of the same classes; its pictures are used for the final test only.
        say: called with each line for the user.
        force: replace an earlier fit in `output`, but nothing else. The earlier one is kept until this one is done.
    Returns:
        {'top1', 'interval', 'images', 'export', 'checkpoint', ...}, measured on the test pictures.
    Raises:
        UserError: nothing can be learned from the pictures, `output` is not empty, or a number is out of bounds.
    """
    for name, value, bounds in (('minutes', minutes, MINUTES), ('size', size, SIDES), ('seed', seed, BOUNDS['SEED'])):
        if value is not None:
            check(name, value, bounds)
    deadline, output = time.monotonic() + 60 * minutes, Path(output)
    check_new(output, 'a run', not_a_fit, force)
    try:
        with set_aside(output), _whole_or_nothing(output):
            return _fit(Path(root), test, output, _Wish(network, size, seed), deadline, say)
    except BrokenPipeError:                                        # the reader closed the pipe
        raise
    except OSError as error:
        name = str(error.filename or output)
        name = name if len(name) < _LONGEST else shortened(name)
        raise UserError(f'{name}: {error.strerror or error}; wanted pictures that can be read, and space '
                        'and permission to write') from error


@contextlib.contextmanager
def _whole_or_nothing(output):
    """On an error or a stop, delete `output`, unless it holds a trained network or the training's output about the error."""
    try:
        yield
    except BaseException as error:
        told = isinstance(error, UserError) and (output / OUTPUT).exists()
        if not told and not (output / CLASSIFIER).exists() and not any((output / RUNS).glob(f'*/{LAST}')):
            shutil.rmtree(output, ignore_errors=True)
        raise


def not_a_fit(path):
    """Reason, in words for a message, why a directory does not hold a fit and nothing else; '' if it does."""
    if not (path / 'pictures').is_dir():
        return 'has no lists of pictures: no fit has written it'
    others = sorted(entry.name for entry in path.iterdir() if entry.name not in _ENTRIES)
    return f'holds {", ".join(others[:3])}{", ..." if others[3:] else ""}, which no fit has written' if others else ''


@dataclass
class _Wish:
    """The user's choices; None: no choice."""
    network: str
    size: int
    seed: int


def _fit(root, test, output, wish, deadline, say):
    found = survey(root, test)
    for line in lines(found):
        say(line)
    parts = training, validation, tested = split(found)
    say(f'split       {len(training)} pictures to train on, {len(validation)} to validate, {len(tested)} to test')
    paddle.seed(wish.seed)
    start = choose_start(wish.network)
    say(f'start       {start.reason}')
    output.mkdir(parents=True, exist_ok=True)
    write_lists(output / 'pictures', found.classes, *parts)
    job = _Job(found, parts, output, start, wish, deadline, say)
    candidates = job.heads()
    tuning = Tuning(job)
    candidates += tuning.candidates()
    if not candidates:
        raise UserError('the training was ended before it had anything to keep; wanted more --minutes')
    best = candidates[surest([one.logits for one in candidates], job.deciding, _SURELY)]
    if len(candidates) > 1:
        say(f'taken       {best.name}: {best.top1(job.deciding):.1f} % of the {len(validation)} validation pictures')
    best = tuning.finished(best)
    cfg = changed(best.network.config, {'TEMPERATURE': round(find_temperature(*best.known), 4)})
    write_network(output / CLASSIFIER, best.network, cfg, found.classes)
    return conclude(output, output / CLASSIFIER, found, tested, training, say)


class _Job:
    """Data and settings shared by all candidates."""

    def __init__(self, found, parts, output, start, wish, deadline, say):
        self.found, self.output, self.start, self.wish, self.deadline, self.say = found, output, start, wish, deadline, say
        self.training, self.validation, self.tested = parts
        self.side = self._side_for(start)
        self.classes, self.deciding = len(found.classes), labels_of(self.validation)
        self.head, self.symmetries, self.error = None, [], 1.0     # error: the head's error rate
        self.end = _END + _PER_PICTURE * len(self.tested)          # seconds for the test and what follows
        self.operators_ready = (lambda: False) if gpu_count() else build_in_background()

    def heads(self):
        """[the published network with a new classifier for these classes]; [] if the network has fresh weights."""
        if not self.start.pretrained:
            self._find_symmetries(thumbnails(self.training),
                                  lambda rows, change: thumbnails(self.training, change).features[rows])
            return []
        begun, pictures = time.monotonic(), self._affordable()
        features = Features(self.start, self.side)
        known, held = features.known(pictures), features.known(self.validation)
        best = self._best_of(features, known.and_of(held), [*pictures, *self.validation])
        if best is not features:
            self.start, self.side = best.start, best.side
            known, held = best.known(pictures), best.known(self.validation)
        self._find_symmetries(known, lambda rows, change: best.of([pictures[i] for i in rows], change))
        self.end = _END + best.seconds * len(self.tested)
        everything = known.and_of(held)
        strength, logits, labels = choose_strength(everything, self.classes)
        self.error = float((logits.argmax(1) != labels).mean())
        weight, bias = known.fit(self.classes, strength)
        network = best.with_head(self.classes, weight, bias)
        self._keep_head(network)
        # The candidate's classifier also learns the validation pictures, which makes it no worse. It is judged by the logits of
        # the classifier above, which has not seen them.
        set_head(network, *everything.fit(self.classes, strength))
        candidate = Candidate('the published network with a new classifier', network, held.features @ weight + bias,
                              (logits, labels))
        self.say(f'head        {candidate.top1(self.deciding):.1f} % of the validation pictures after '
                 f'{time.monotonic() - begun:.0f} s: {best.start.name} as published, with a classifier on its features')
        return [candidate]

    def _best_of(self, features, known, pictures):
        """The `Features` to continue with: if the user has not named a network, those of a larger one may be better."""
        larger = [] if self.wish.network else larger_names(self.start)
        if not larger:
            return features
        self.operators_ready()
        others = (Features(start, self._side_for(start)) for start in map(published, larger))   # built lazily
        best = best_of(features, known, pictures, self.classes, others, self.deadline - time.monotonic())
        if best is not features:
            self.say(f'network     {best.start.name}: its features tell these classes apart more surely than those of '
                     f'{features.start.name}')
        return best

    def _side_for(self, start):
        return image_size(start.network.config.DATA.IMAGE_SIZE, self.found.pictures, not start.pretrained, self.wish.size)

    def _affordable(self):
        """Training pictures whose features take a third of the time left at most: all, or every n-th if there are very many."""
        most = max(self.classes * 5, int((self.deadline - time.monotonic()) / 3 / _PER_PICTURE))
        return self.training[::-(-len(self.training) // most)]

    def _find_symmetries(self, known, features_of):
        """Find which flips and rotations keep the class of a picture, for augmentation.

        `features_of(rows, change)` gives the features of these pictures after a change.
        """
        rows = known.drawn(_TURNED)
        known = known.part(rows)
        same = {name: means_the_same(known, features_of(rows, change), self.classes) for name, change in CHANGES.items()}
        # In doubt, allow only mirroring: most pictures may be mirrored, but few have no right way up.
        self.symmetries = [name for name in CHANGES if same[name] or same[name] is None and name == MIRRORED]
        self.say(f'symmetries  {", ".join(self.symmetries) or "none"}: so pictures mean the same, and are varied in training')

    def _keep_head(self, network):
        """Write the network from which the training of all layers starts."""
        self.head = self.output / HEAD
        write_network(self.head, network, network.config, listed(self.found.classes))
