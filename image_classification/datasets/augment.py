"""RandAugment (https://arxiv.org/abs/1909.13719) with timm's "increasing" set of operations, and the training recipe."""
from PIL import Image, ImageEnhance, ImageOps

from image_classification.datasets import transforms as T
from image_classification.errors import UserError

ERASE_MODES = ('const', 'rand', 'pixel')


def _autocontrast(image, level, rng):
    return ImageOps.autocontrast(image)


def _equalize(image, level, rng):
    return ImageOps.equalize(image)


def _invert(image, level, rng):
    return ImageOps.invert(image)


def _posterize(image, level, rng):
    # 4 bits are kept at level 0, none at 1. Not by ImageOps.posterize, which from Pillow 13 on refuses to keep none.
    mask = 256 - 2 ** (4 + int(level * 4))
    return image.point([i & mask for i in range(256)] * len(image.getbands()))


def _solarize(image, level, rng):
    return ImageOps.solarize(image, 256 - int(level * 256))        # pixels from here on are inverted


def _solarize_add(image, level, rng):
    return image.point([min(255, i + int(level * 110)) if i < 128 else i for i in range(256)] * len(image.getbands()))


def _enhance(image, level, rng, kind):
    return kind(image).enhance(1.0 + _either_sign(0.9 * level, rng))


def _color(image, level, rng):
    return _enhance(image, level, rng, ImageEnhance.Color)


def _contrast(image, level, rng):
    return _enhance(image, level, rng, ImageEnhance.Contrast)


def _brightness(image, level, rng):
    return _enhance(image, level, rng, ImageEnhance.Brightness)


def _sharpness(image, level, rng):
    return _enhance(image, level, rng, ImageEnhance.Sharpness)


def _rotate(image, level, rng, resample, fill):
    return image.rotate(_either_sign(30 * level, rng), resample, fillcolor=fill)


def _affine(image, matrix, resample, fill):
    return image.transform(image.size, Image.Transform.AFFINE, matrix, resample, fillcolor=fill)


def _shear_x(image, level, rng, resample, fill):
    return _affine(image, (1, _either_sign(0.3 * level, rng), 0, 0, 1, 0), resample, fill)


def _shear_y(image, level, rng, resample, fill):
    return _affine(image, (1, 0, 0, _either_sign(0.3 * level, rng), 1, 0), resample, fill)


def _translate_x(image, level, rng, resample, fill):
    return _affine(image, (1, 0, _either_sign(0.45 * level, rng) * image.width, 0, 1, 0), resample, fill)


def _translate_y(image, level, rng, resample, fill):
    return _affine(image, (1, 0, 0, 0, 1, _either_sign(0.45 * level, rng) * image.height), resample, fill)


def _either_sign(value, rng):
    return -value if rng.random() < 0.5 else value


_COLOUR = (_autocontrast, _equalize, _invert, _posterize, _solarize, _solarize_add, _color, _contrast, _brightness, _sharpness)
_GEOMETRY = (_rotate, _shear_x, _shear_y, _translate_x, _translate_y)
_AFFINE_FILTERS = {'nearest': Image.Resampling.NEAREST, 'bilinear': Image.Resampling.BILINEAR}


def rand_augment(image, rng, layers, magnitude, mstd, fill, interpolation):
    """PIL image after `layers` random operations, each of which is left out with probability one half, as in timm.

    Args:
        magnitude: 0 to 10, the strength; drawn anew for each operation from a normal distribution of deviation `mstd`.
        fill: colour, 0 to 255 per channel, of what a geometric operation moves in from outside.
        interpolation: of the geometric operations; Pillow's affine maps know nothing finer than bicubic.
    """
    fill = tuple(fill) if len(fill) > 1 else fill[0]
    resample = _AFFINE_FILTERS.get(interpolation, Image.Resampling.BICUBIC)
    for i in rng.integers(len(_COLOUR) + len(_GEOMETRY), size=layers):
        if rng.random() < 0.5:
            continue
        level = min(max(rng.normal(magnitude, mstd), 0.0), 10.0) / 10
        if i >= len(_COLOUR):
            image = _GEOMETRY[i - len(_COLOUR)](image, level, rng, resample, fill)
        elif image.mode == 'RGBA':         # Pillow's colour operations refuse an alpha channel, or change it
            alpha = image.getchannel('A')
            image = _COLOUR[i](image.convert('RGB'), level, rng)
            image.putalpha(alpha)
        else:
            image = _COLOUR[i](image, level, rng)
    return image


class TrainTransform:
    """(PIL image, generator) -> (C, H, W) float32, normalized: the training recipe of a configuration.

    A class and not a closure, because worker processes may have to pickle it.
    """

    def __init__(self, train, preprocess):
        self.train = train
        self.preprocess = preprocess
        self.fill = [round(255 * value) for value in preprocess.mean]

    def __call__(self, image, rng):
        train, pre = self.train, self.preprocess
        image = T.random_resized_crop(image, rng, pre.image_size, train.CROP_SCALE, train.CROP_RATIO, pre.interpolation)
        image = T.random_flip(image, rng, train.HFLIP)
        if train.RAND_AUGMENT:
            image = rand_augment(image, rng, train.RAND_AUGMENT_LAYERS, train.RAND_AUGMENT_MAGNITUDE,
                                 train.RAND_AUGMENT_MSTD, self.fill, pre.interpolation)
        elif train.COLOR_JITTER:
            image = T.color_jitter(image, rng, train.COLOR_JITTER, train.COLOR_JITTER, train.COLOR_JITTER)
        return T.random_erasing(pre.to_input(image), rng, train.RANDOM_ERASE_PROB, train.RANDOM_ERASE_MODE,
                                train.RANDOM_ERASE_COUNT)


def train_transform(cfg, preprocess):
    """The TrainTransform of `cfg.TRAIN`, for images that the network sees by `preprocess`.

    Raises:
        UserError: a value outside its range; names the key, the value and what is wanted.
    """
    train = cfg.TRAIN

    def check(key, good, wanted):
        if not good(train[key]):
            raise UserError(f'TRAIN.{key} is {train[key]!r}; wanted {wanted}')

    check('CROP_SCALE', lambda v: len(v) == 2 and 0 < v[0] <= v[1] <= 1, '[least, most] share of the area, above 0, up to 1')
    check('CROP_RATIO', lambda v: len(v) == 2 and 0 < v[0] <= v[1], '[least, most] width / height, above 0')
    for key in ('HFLIP', 'RANDOM_ERASE_PROB'):
        check(key, lambda v: 0 <= v <= 1, 'a probability from 0 to 1')
    for key in ('COLOR_JITTER', 'RAND_AUGMENT_MSTD', 'RAND_AUGMENT_LAYERS'):
        check(key, lambda v: v >= 0, '0 or more')
    check('RAND_AUGMENT_MAGNITUDE', lambda v: 0 <= v <= 10, '0 to 10')
    check('RANDOM_ERASE_MODE', lambda v: v in ERASE_MODES, f'one of: {", ".join(ERASE_MODES)}')
    check('RANDOM_ERASE_COUNT', lambda v: v >= 1, '1 or more')
    return TrainTransform(train, preprocess)
