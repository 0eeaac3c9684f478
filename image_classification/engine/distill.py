"""Knowledge distillation: a network also learns from the predictions of a trained one, the teacher, on the same images.

Soft as in https://arxiv.org/abs/1503.02531, hard as in https://arxiv.org/abs/2012.12877. The teacher gets the same batch as the
network, augmented and mixed.
"""
import os
from pathlib import Path

import paddle
import paddle.nn.functional as F

from image_classification.checkpoint import checkpoint_at, load_network, named_network
from image_classification.config import check_values, find_config, get_config
from image_classification.datasets import Preprocess
from image_classification.datasets.classes import are_known, difference, order
from image_classification.datasets.imagenet_names import names_to_show
from image_classification.deploy.engines import open_engine
from image_classification.deploy.export_directory import PREFIX, PROGRAM, WEIGHTS, ExportDirectory
from image_classification.errors import UserError
from image_classification.installation import tool
from image_classification.models import build_for_weights
from image_classification.weights.pretrained import load_whole


def build_distillation(cfg, class_names, amp=False):
    """Build a function (loss of the labels, logits, images) -> loss. If TRAIN.DISTILL.KIND is none, it returns the first.

    Raises:
        UserError: a value is out of range, the teacher cannot be read, or it has other classes or channels.
    """
    keys = cfg.TRAIN.DISTILL
    check_values(cfg, 'TRAIN.DISTILL.')
    if bool(keys.TEACHER) != (keys.KIND != 'none'):
        raise UserError(f'TRAIN.DISTILL.TEACHER is {keys.TEACHER!r}; wanted a teacher with KIND soft or hard, none with KIND '
                        'none')
    if keys.KIND == 'none':
        return NoDistillation()
    return Distillation(load_teacher(cfg, class_names, amp), keys.KIND, keys.ALPHA, keys.TAU)


class NoDistillation:
    notes = []                                                     # lines for the log

    def __call__(self, loss, logits, images):
        return loss


class Distillation:
    """(1 - alpha) * loss of the labels + alpha * loss of the teacher: `soft_loss` or `hard_loss`."""

    def __init__(self, teacher, kind, alpha, tau):
        self.teacher, self.kind, self.alpha, self.tau = teacher, kind, alpha, tau
        self.notes = [f'teacher {teacher.name} at {teacher.preprocess.image_size} px, {kind}, {alpha:g} of the loss',
                      *teacher.notes]

    def __call__(self, loss, logits, images):
        wanted = self.teacher(images)
        taught = soft_loss(logits, wanted, self.tau) if self.kind == 'soft' else hard_loss(logits, wanted)
        return (1 - self.alpha) * loss + self.alpha * taught


def soft_loss(logits, wanted, tau):
    """tau^2 * KL(softmax(wanted / tau) || softmax(logits / tau)), mean over images. Its gradient hardly depends on tau."""
    wanted, found = F.log_softmax(wanted / tau), F.log_softmax(logits / tau)
    return tau ** 2 * (wanted.exp() * (wanted - found)).sum(1).mean()


def hard_loss(logits, wanted):
    """Cross entropy with the class that the teacher predicts."""
    return F.cross_entropy(logits, wanted.argmax(1))


class Teacher:
    """Images, preprocessed for the student -> the teacher's logits (B, classes), float32, without gradient.

    Images are first converted to the size, normalization and channel order of the teacher.
    Args:
        network: images (B, C, H, W) -> logits, or probabilities if `gives_logits` is False.
        name, preprocess, class_names: those of the teacher; `class_names` is empty if they are unknown.
        student: the student's Preprocess.
    Attributes:
        order: index of each of the student's classes in the teacher's output; None: the same order.
        notes: lines for the log.
    """

    def __init__(self, network, name, preprocess, class_names, gives_logits, student, amp_dtype=''):
        self.network, self.name, self.preprocess, self.class_names = network, name, preprocess, class_names
        self.gives_logits, self.student, self.amp_dtype = gives_logits, student, amp_dtype
        self.order, self.notes = None, []
        own, theirs = (paddle.to_tensor([p.mean, p.std]).reshape([2, 1, -1, 1, 1]) for p in (preprocess, student))
        self.scale, self.shift = theirs[1] / own[1], (theirs[0] - own[0]) / own[1]
        self.same_scale = preprocess.mean == student.mean and preprocess.std == student.std

    @paddle.no_grad()
    def __call__(self, images):
        images = self.prepare(images)
        with paddle.amp.auto_cast(enable=bool(self.amp_dtype), dtype=self.amp_dtype or 'float16'):
            output = self.network(images)
        output = output.astype('float32')
        if self.order is not None:
            output = output.index_select(self.order, axis=1)
        return output if self.gives_logits else output.clip(min=1e-30).log()  # logits whose softmax is `output`

    def prepare(self, images):
        """Convert images from the student's preprocessing to the teacher's: -> (B, C, size, size)."""
        images = _in_rgb(images, self.student)
        if not self.same_scale:
            images = images * self.scale + self.shift
        size = [self.preprocess.image_size] * 2
        if list(images.shape[2:]) != size:
            images = F.interpolate(images, size, mode='bilinear')
        return _in_rgb(images, self.preprocess)                    # the swap is its own inverse


def _in_rgb(images, preprocess):
    if preprocess.color_order == 'RGB' or images.shape[1] < 3:
        return images
    return paddle.concat([images[:, :3].flip(1), images[:, 3:]], 1) if images.shape[1] > 3 else images.flip(1)


def load_teacher(cfg, class_names, amp=False):
    """Load the Teacher of TRAIN.DISTILL: an export directory, a checkpoint of this library, or a model name with weights."""
    name = cfg.TRAIN.DISTILL.TEACHER
    if os.path.isdir(name):                                        # Path.is_dir raises for a name that is too long
        parts = _export(ExportDirectory(name))
    elif Path(name).suffix == '.safetensors':
        network, names = load_network(name)
        parts = *_from_network(network), names, True
    else:
        try:
            find_config(name)
        except UserError as error:
            raise UserError('TRAIN.DISTILL.TEACHER is no directory of an export and no checkpoint (.safetensors); '
                            f'{error}') from None
        network, names = _named(cfg)
        parts = *_from_network(network), names, True
    student = Preprocess.from_config(cfg, channels=cfg.MODEL.IN_CHANNELS)
    teacher = Teacher(*parts, student, cfg.AMP_DTYPE if amp else '')
    _check_fit(teacher, student, cfg.MODEL.NUM_CLASSES, list(class_names))
    return teacher


def _named(cfg):
    """(network in evaluation mode, class names) of a teacher given by its model name."""
    keys = cfg.TRAIN.DISTILL
    if not keys.WEIGHTS:
        raise UserError('TRAIN.DISTILL.WEIGHTS is empty, but a teacher must be trained; wanted a tag of '
                        f'{keys.TEACHER}, default, an address or a file')
    if checkpoint_at(keys.WEIGHTS):
        return named_network(get_config(keys.TEACHER).MODEL.NAME, keys.WEIGHTS)
    teacher_cfg = get_config(keys.TEACHER, {'MODEL.NUM_CLASSES': cfg.MODEL.NUM_CLASSES, 'PRETRAINED': keys.WEIGHTS,
                                            'MODEL.IN_CHANNELS': cfg.MODEL.IN_CHANNELS})
    advice = ('as a teacher it must know the same. Fine-tune it on this data set first, and give its checkpoint as '
              'TRAIN.DISTILL.TEACHER.')
    network, _ = build_for_weights(teacher_cfg, lambda network, suited: load_whole(network, keys.WEIGHTS, advice, suited))
    network.eval()
    return network, []


def _from_network(network):
    cfg = network.config
    return network, cfg.MODEL.NAME, Preprocess.from_config(cfg, channels=cfg.MODEL.IN_CHANNELS)


def _export(directory):
    """(network, name, preprocessing, class names, whether it gives logits) of a directory that tools/export.py wrote."""
    try:
        known = directory.classes()
    except UserError as error:
        raise UserError(f'the teacher {directory} is no export of a classifier ({error}); wanted a directory that '
                        f'{tool("export")} wrote') from None
    if not (directory / WEIGHTS).is_file():
        raise UserError(f'the teacher {directory} lacks {WEIGHTS}; wanted a whole export')
    try:
        return _program(directory), known.name, known.preprocess, known.class_names, known.gives_logits
    except Exception as error:                                     # Paddle's C++ errors have no common class
        reason = (str(error).strip().splitlines() or ['no reason given'])[0]
        raise UserError(f'the teacher {directory} cannot be loaded ({reason}); export it again') from None


def _program(directory):
    """The network of an export, on Paddle's current device. The older format runs in Paddle Inference, on the CPU."""
    if (directory / PROGRAM).is_file():
        network = paddle.jit.load(str(directory / PREFIX))
        network.eval()
        return network
    engine = open_engine(directory.path, 'paddle_inference')
    return lambda images: paddle.to_tensor(engine.run(images.numpy())[0])


def _check_fit(teacher, student, num_classes, class_names):
    """Raise UserError unless the teacher has the student's channels and classes."""
    if teacher.preprocess.channels != student.channels:
        raise UserError(f'the teacher {teacher.name} takes images of {teacher.preprocess.channels} channels; wanted '
                        f'{student.channels}, as MODEL.IN_CHANNELS')
    _match_classes(teacher, class_names)
    size = teacher.preprocess.image_size
    found = teacher(paddle.zeros([1, student.channels, size, size])).shape[1]
    if found != num_classes:
        raise UserError(f'the teacher {teacher.name} knows {found} classes; wanted {num_classes}, as MODEL.NUM_CLASSES')


def _match_classes(teacher, class_names):
    """Put the teacher's classes into the student's order. Raises UserError if the classes differ."""
    theirs = teacher.class_names or (names_to_show([], 1000) if len(class_names) == 1000 else [])
    found = order(class_names, theirs) if theirs else None
    if found == list(range(len(class_names))) or not class_names:
        return
    if found is not None:
        teacher.order = paddle.to_tensor(found)
        teacher.notes = ['the teacher knows the same classes in another order: its answers are put into that of the data set']
    elif are_known(teacher.class_names) and are_known(class_names):
        differs = difference(class_names, teacher.class_names, 'the data set', 'the teacher')
        raise UserError(f'the teacher {teacher.name} knows other classes than the data set has: {differs}. Choose a teacher of '
                        'this data set.')
    else:
        teacher.notes = ['the names of the classes of the teacher, or of the data set, are not known: they are taken to be the '
                         'same, number by number']
