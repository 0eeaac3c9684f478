"""The training transform: crop, mirror, rotate and shear, an augmentation policy, erase."""
from PIL import Image

from image_classification.config import check_values
from image_classification.datasets import policies, transforms as T
from image_classification.errors import UserError


class TrainTransform:
    """The training transform of a configuration: `box` draws the part of an image to use, the call transforms that part.

    `size` is the side of training images in pixels: TRAIN.IMAGE_SIZE, or DATA.IMAGE_SIZE if that is 0. This is a class, not a
    closure, because worker processes may have to pickle it.
    """

    def __init__(self, train, preprocess):
        self.train = train
        self.preprocess = preprocess
        self.size = train.IMAGE_SIZE or preprocess.image_size
        self.fill = [round(255 * value) for value in preprocess.mean]

    def box(self, whole, rng):
        """(left, top, right, bottom) of a random part of an image of the size `whole` (width, height)."""
        return T.random_box(rng, whole, self.train.CROP_SCALE, self.train.CROP_RATIO)

    def __call__(self, image, rng, size):
        """(pixels (size, size, C) uint8 for `Preprocess.normalized`, holes for `transforms.erase` to write after that).

        Args:
            image: the part, as a PIL image of any resolution or as (size, size, C) uint8.
        """
        train, pre = self.train, self.preprocess
        # Not resize(box=...), which blends in pixels from outside the part at its edges.
        if isinstance(image, Image.Image) and image.size != (size, size):
            image = image.resize((size, size), T.INTERPOLATIONS[pre.interpolation])
        image = T.random_flip(image, rng, train.HFLIP)
        image = self._augment(T.random_flip(image, rng, train.VFLIP, upside_down=True) if train.VFLIP else image, rng)
        holes = T.random_holes(rng, (pre.channels, size, size), train.RANDOM_ERASE_PROB, train.RANDOM_ERASE_MODE,
                               train.RANDOM_ERASE_COUNT)
        return T.to_pixels(image), holes

    def _augment(self, image, rng):
        """Rotate and shear an image, then apply the configuration's policy or, without one, its colour jitter. If all of these
        are off, the image is returned unchanged."""
        train, interpolation = self.train, self.preprocess.interpolation
        slants = train.ROTATE or train.SHEAR
        if not (slants or train.RAND_AUGMENT or train.AUTO_AUGMENT or train.COLOR_JITTER):
            return image
        image = image if isinstance(image, Image.Image) else Image.fromarray(image)
        if slants:
            image = T.random_slant(image, rng, train.ROTATE, train.SHEAR)
        if train.RAND_AUGMENT:
            return policies.rand_augment(image, rng, train.RAND_AUGMENT_LAYERS, train.RAND_AUGMENT_MAGNITUDE,
                                         train.RAND_AUGMENT_MSTD, train.RAND_AUGMENT_INCREASING, self.fill, interpolation)
        if train.AUTO_AUGMENT == 'trivial':
            return policies.trivial_augment(image, rng, interpolation)
        if train.AUTO_AUGMENT:
            return policies.auto_augment(image, rng, train.AUTO_AUGMENT, self.fill, interpolation)
        return T.color_jitter(image, rng, *[train.COLOR_JITTER] * 3) if train.COLOR_JITTER else image


def train_transform(cfg, preprocess):
    """The TrainTransform of `cfg.TRAIN`; the evaluation transform is `preprocess`.

    Raises:
        UserError: a value is outside its range. The message names the key, the value and what is wanted.
    """
    check_values(cfg, 'TRAIN.')
    train = cfg.TRAIN
    if train.AUTO_AUGMENT and train.RAND_AUGMENT:
        raise UserError(f'TRAIN.RAND_AUGMENT is True; wanted False beside TRAIN.AUTO_AUGMENT {train.AUTO_AUGMENT!r}; turn one '
                        'off')
    return TrainTransform(train, preprocess)
