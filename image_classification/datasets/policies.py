"""AutoAugment (https://arxiv.org/abs/1805.09501), RandAugment (https://arxiv.org/abs/1909.13719) and TrivialAugment
(https://arxiv.org/abs/2103.10158): operations on PIL images, and the policies that choose among them.

Strengths, sub-policies and probabilities are timm's, for TrivialAugment torchvision's, because recipes are written for these.
"""
from PIL import Image, ImageEnhance, ImageOps

TRIVIAL_BINS = 31                          # number of strengths in TrivialAugment, from none to the maximum
_AFFINE_FILTERS = {'nearest': Image.Resampling.NEAREST, 'bilinear': Image.Resampling.BILINEAR}


def _posterize(image, bits):
    # Not ImageOps.posterize, which refuses 0 bits from Pillow 13 on.
    mask = 256 - 2 ** (8 - bits)
    return image.point([i & mask for i in range(256)] * len(image.getbands()))


def _solarize_add(image, amount):
    return image.point([min(255, i + amount) if i < 128 else i for i in range(256)] * len(image.getbands()))


COLOUR = {                                 # name: (image, argument) -> image
    'autocontrast': lambda image, _: ImageOps.autocontrast(image),
    'equalize': lambda image, _: ImageOps.equalize(image),
    'invert': lambda image, _: ImageOps.invert(image),
    'posterize': _posterize,               # bits to keep
    'solarize': ImageOps.solarize,         # threshold from which pixels are inverted
    'solarize_add': _solarize_add,         # amount added to pixels below 128
    'color': lambda image, factor: ImageEnhance.Color(image).enhance(factor),
    'contrast': lambda image, factor: ImageEnhance.Contrast(image).enhance(factor),
    'brightness': lambda image, factor: ImageEnhance.Brightness(image).enhance(factor),
    'sharpness': lambda image, factor: ImageEnhance.Sharpness(image).enhance(factor),
}


def _affine(image, matrix, resample, fill):
    return image.transform(image.size, Image.Transform.AFFINE, matrix, resample, fillcolor=fill)


GEOMETRY = {                               # name: (image, argument, filter, fill colour) -> image
    'rotate': lambda image, degrees, resample, fill: image.rotate(degrees, resample, fillcolor=fill),
    'shear_x': lambda image, slope, *paint: _affine(image, (1, slope, 0, 0, 1, 0), *paint),
    'shear_y': lambda image, slope, *paint: _affine(image, (1, 0, 0, slope, 1, 0), *paint),
    'translate_x': lambda image, share, *paint: _affine(image, (1, 0, share * image.width, 0, 1, 0), *paint),
    'translate_y': lambda image, share, *paint: _affine(image, (1, 0, 0, 0, 1, share * image.height), *paint),
    'translate_x_pixels': lambda image, pixels, *paint: _affine(image, (1, 0, pixels, 0, 1, 0), *paint),
    'translate_y_pixels': lambda image, pixels, *paint: _affine(image, (1, 0, 0, 0, 1, pixels), *paint),
}


def apply(image, name, argument, interpolation='nearest', fill=(0,)):
    """Apply the operation `name` to a PIL image of mode L, RGB or RGBA. Mode and size stay.

    Args:
        fill: colour, 0 to 255 per channel, of pixels that a geometric operation moves in from outside.
        interpolation: filter of the geometric operations; Pillow's affine maps have none finer than bicubic.
    """
    if name in GEOMETRY:
        resample = _AFFINE_FILTERS.get(interpolation, Image.Resampling.BICUBIC)
        return GEOMETRY[name](image, argument, resample, tuple(fill) if len(fill) > 1 else fill[0])
    if image.mode != 'RGBA':
        return COLOUR[name](image, argument)
    alpha = image.getchannel('A')          # Pillow's colour operations refuse an alpha channel, or change it
    image = COLOUR[name](image.convert('RGB'), argument)
    image.putalpha(alpha)
    return image


def _either_sign(most):
    """The argument of an operation that works in both directions: up to `most`, with a random sign."""
    return lambda level, rng: -most * level if rng.random() < 0.5 else most * level


def _no_argument(level, rng):
    return None


def _away_from_1(most):
    """A factor that is 1 at level 0, which changes nothing, and 1 - most or 1 + most at level 1, at random."""
    offset = _either_sign(most)
    return lambda level, rng: 1.0 + offset(level, rng)


_ENHANCE = ('color', 'contrast', 'brightness', 'sharpness')
# {operation: (level, generator) -> argument}, levels from 0 to 1. In the plain sets posterize and solarize get weaker as the
# level rises, and the factors run from 0.1 to 1.9; the increasing set is the one in which every operation gets stronger.
PLAIN = {
    **dict.fromkeys(('autocontrast', 'equalize', 'invert'), _no_argument),
    'posterize': lambda level, rng: int(level * 4),                # 0 bits at level 0: black
    'solarize': lambda level, rng: int(level * 256),               # everything is inverted at level 0
    'solarize_add': lambda level, rng: int(level * 110),
    **dict.fromkeys(_ENHANCE, lambda level, rng: level * 1.8 + 0.1),
    'rotate': _either_sign(30.0),                                  # degrees
    **dict.fromkeys(('shear_x', 'shear_y'), _either_sign(0.3)),
    **dict.fromkeys(('translate_x', 'translate_y'), _either_sign(0.45)),
}
INCREASING = {
    **PLAIN,
    'posterize': lambda level, rng: 4 - int(level * 4),
    'solarize': lambda level, rng: 256 - int(level * 256),
    **dict.fromkeys(_ENHANCE, _away_from_1(0.9)),
}
ORIGINAL = {**PLAIN, 'posterize': lambda level, rng: 4 + int(level * 4)}
TRIVIAL = {
    **dict.fromkeys(('identity', 'autocontrast', 'equalize'), _no_argument),
    **dict.fromkeys(('shear_x', 'shear_y'), _either_sign(0.99)),
    **dict.fromkeys(('translate_x_pixels', 'translate_y_pixels'), lambda level, rng: int(_either_sign(32.0)(level, rng))),
    'rotate': _either_sign(135.0),
    **dict.fromkeys(_ENHANCE, _away_from_1(0.99)),
    'posterize': lambda level, rng: 8 - round(level * 6),
    'solarize': lambda level, rng: 255 - level * 255,
}


def _sub_policies(text):
    """Parse lines of `operation probability level, ...`, each to a list of (operation, probability, level)."""
    return [[(name, float(prob), int(level)) for name, prob, level in (part.split() for part in line.split(','))]
            for line in text.strip().splitlines()]


# The result of AutoAugment's search on ImageNet, table 9 of the paper.
_ORIGINAL_POLICY = _sub_policies('''
    posterize 0.4 8, rotate 0.6 9
    solarize 0.6 5, autocontrast 0.6 5
    equalize 0.8 8, equalize 0.6 3
    posterize 0.6 7, posterize 0.6 6
    equalize 0.4 7, solarize 0.2 4
    equalize 0.4 4, rotate 0.8 8
    solarize 0.6 3, equalize 0.6 7
    posterize 0.8 5, equalize 1.0 2
    rotate 0.2 3, solarize 0.6 8
    equalize 0.6 8, posterize 0.4 6
    rotate 0.8 8, color 0.4 0
    rotate 0.4 9, equalize 0.6 2
    equalize 0.0 7, equalize 0.8 8
    invert 0.6 4, equalize 1.0 8
    color 0.6 4, contrast 1.0 8
    rotate 0.8 8, color 1.0 2
    color 0.8 8, solarize 0.8 7
    sharpness 0.4 7, invert 0.6 8
    shear_x 0.6 5, equalize 1.0 9
    color 0.4 0, equalize 0.6 3
    equalize 0.4 7, solarize 0.2 4
    solarize 0.6 5, autocontrast 0.6 5
    invert 0.6 4, equalize 1.0 8
    color 0.6 4, contrast 1.0 8
    equalize 0.8 8, equalize 0.6 3''')
# The policy that EfficientNet's authors published for ImageNet under this name, in tensorflow/tpu.
_V0_POLICY = _sub_policies('''
    equalize 0.8 1, shear_y 0.8 4
    color 0.4 9, equalize 0.6 3
    color 0.4 1, rotate 0.6 8
    solarize 0.8 3, equalize 0.4 7
    solarize 0.4 2, solarize 0.6 2
    color 0.2 0, equalize 0.8 8
    equalize 0.4 8, solarize_add 0.8 3
    shear_x 0.2 9, rotate 0.6 8
    color 0.6 1, equalize 1.0 2
    invert 0.4 9, rotate 0.6 0
    equalize 1.0 9, shear_y 0.6 3
    color 0.4 7, equalize 0.6 0
    posterize 0.4 6, autocontrast 0.4 7
    solarize 0.6 8, color 0.6 9
    solarize 0.2 4, rotate 0.8 9
    rotate 1.0 7, translate_y 0.8 9
    shear_x 0.0 0, solarize 0.8 4
    shear_y 0.8 0, color 0.6 4
    color 1.0 0, rotate 0.6 2
    equalize 0.8 4, equalize 0.0 8
    equalize 1.0 4, autocontrast 0.6 2
    shear_y 0.4 7, solarize_add 0.6 7
    posterize 0.8 2, solarize 0.6 10
    solarize 0.6 8, equalize 0.6 1
    color 0.8 6, rotate 0.4 5''')
AUTO_AUGMENT = {'original': (_ORIGINAL_POLICY, ORIGINAL), 'v0': (_V0_POLICY, PLAIN)}


def auto_augment(image, rng, name, fill, interpolation):
    """Apply one of the 25 sub-policies of `name` to a PIL image: two operations, each with its probability and level."""
    policy, arguments = AUTO_AUGMENT[name]
    for operation, prob, level in policy[int(rng.integers(len(policy)))]:
        if rng.random() < prob:
            image = apply(image, operation, arguments[operation](level / 10, rng), interpolation, fill)
    return image


def rand_augment(image, rng, layers, magnitude, mstd, increasing, fill, interpolation):
    """Apply `layers` random operations to a PIL image. Each of them is left out with probability one half, as in timm.

    Args:
        magnitude: mean strength, 0 to 10. The strength of each operation is drawn from a normal distribution with the standard
            deviation `mstd`.
        increasing: use timm's set of operations that all get stronger with the magnitude.
    """
    arguments = INCREASING if increasing else PLAIN
    names = list(arguments)
    for i in rng.integers(len(names), size=layers):
        if rng.random() < 0.5:
            continue
        level = min(max(rng.normal(magnitude, mstd), 0.0), 10.0) / 10
        image = apply(image, names[i], arguments[names[i]](level, rng), interpolation, fill)
    return image


def trivial_augment(image, rng, interpolation):
    """Apply one operation of the wide set to a PIL image, with a uniformly drawn strength. As published, the fill is black."""
    name = list(TRIVIAL)[int(rng.integers(len(TRIVIAL)))]
    argument = TRIVIAL[name](int(rng.integers(TRIVIAL_BINS)) / (TRIVIAL_BINS - 1), rng)
    fill = (0,) * len(image.getbands())
    return image if name == 'identity' else apply(image, name, argument, interpolation, fill)
