"""Small functions that take a PIL image or an array and return a new one. Random ones take a generator.

Crop, resize and erasing follow torchvision's and timm's arithmetic, so that their recipes mean the same here.
"""
import math

import numpy as np
from PIL import Image, ImageEnhance

from image_classification.datasets import opencv

INTERPOLATIONS = {name: Image.Resampling[name.upper()]
                  for name in ('nearest', 'bilinear', 'bicubic', 'lanczos', 'box', 'hamming')}
_LONGEST = 16                              # `resize_short` cuts the long side to this many times the short side


def resize_short(image, size, interpolation):
    """Resize a PIL image to a short side of `size` pixels, keeping the aspect ratio."""
    width, height = image.size
    if max(width, height) > _LONGEST * min(width, height):
        # A strip of 1 x 10000 pixels would grow to 256 x 2560000. Keep its middle, which contains the centre crop.
        longest = _LONGEST * min(width, height)
        image = center_crop(image, min(width, longest), min(height, longest))
        width, height = image.size
    if width <= height:
        new = (size, int(size * height / width))
    else:
        new = (int(size * width / height), size)
    return image if new == image.size else image.resize(new, INTERPOLATIONS[interpolation])


def center_crop(image, width, height):
    """The middle of a PIL image. Half pixels of the margin are rounded to even, as in torchvision."""
    left = round((image.width - width) / 2)
    top = round((image.height - height) / 2)
    return image.crop((left, top, left + width, top + height))


def random_box(rng, size, scale, ratio):
    """(left, top, right, bottom) of a random part of an image of `size` (width, height) (https://arxiv.org/abs/1409.4842).

    If ten draws do not fit into the image, it is the largest central part whose aspect ratio is allowed.
    Args:
        scale: smallest and largest share of the image's area.
        ratio: smallest and largest width / height of the part, drawn uniformly on a logarithmic scale.
    """
    width, height = size
    for _ in range(10):
        area = rng.uniform(*scale) * width * height
        aspect = math.exp(rng.uniform(math.log(ratio[0]), math.log(ratio[1])))
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            left, top = int(rng.integers(width - w + 1)), int(rng.integers(height - h + 1))
            break
    else:
        aspect = min(max(width / height, ratio[0]), ratio[1])
        w, h = max(1, min(width, round(height * aspect))), max(1, min(height, round(width / aspect)))
        left, top = (width - w) // 2, (height - h) // 2
    return left, top, left + w, top + h


def random_flip(image, rng, p=0.5, upside_down=False):
    """Mirror a PIL image or (H, W, C) uint8 with probability p: left to right, or top to bottom if `upside_down`."""
    if rng.random() >= p:
        return image
    if isinstance(image, np.ndarray):
        return opencv.mirrored(image, upside_down)
    return image.transpose(Image.Transpose.FLIP_TOP_BOTTOM if upside_down else Image.Transpose.FLIP_LEFT_RIGHT)


def random_slant(image, rng, rotate, shear):
    """Rotate a PIL image about its centre and shear it, by random angles up to `rotate` and `shear` degrees in either
    direction. Corners that come from outside get the mean colour of the image's edge."""
    turn, lean = (math.radians(rng.uniform(-most, most)) for most in (rotate, shear))
    cos, sin, tan = math.cos(turn), math.sin(turn), math.tan(lean)
    # Pillow wants the map from output to input pixels: (x, y) -> (a x + b y + c, d x + e y + f).
    a, b, d, e = cos, sin + tan * cos, -sin, cos - tan * sin
    x, y = (image.width - 1) / 2 + 0.5, (image.height - 1) / 2 + 0.5
    matrix = (a, b, x - a * x - b * y, d, e, y - d * x - e * y)
    pixels = to_pixels(image)
    edge = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]]).mean(0).round().astype(int)
    return image.transform(image.size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR, fillcolor=tuple(edge.tolist()))


def color_jitter(image, rng, brightness, contrast, saturation):
    """Scale each property of a PIL image by a random factor from 1 - x to 1 + x, where x is its argument, in random order."""
    steps = ((ImageEnhance.Brightness, brightness), (ImageEnhance.Contrast, contrast), (ImageEnhance.Color, saturation))
    for i in rng.permutation(len(steps)):
        enhance, strength = steps[i]
        image = enhance(image).enhance(rng.uniform(max(0.0, 1.0 - strength), 1.0 + strength))
    return image


def to_pixels(image):
    """8-bit PIL image, or an array (H, W) or (H, W, C) uint8 -> (H, W, C) uint8."""
    array = np.asarray(image)
    return array[:, :, None] if array.ndim == 2 else array


def normalize(pixels, mean, std):
    """(B, H, W, C) uint8 -> (B, C, H, W) float32: scaled to 0..1, minus `mean`, divided by `std`; both have C numbers."""
    mean, std = (np.asarray(values, np.float32)[:, None, None] for values in (mean, std))
    pixels = pixels.transpose(0, 3, 1, 2)                          # (B, C, H, W)
    out = np.empty(pixels.shape, np.float32)
    for image, result in zip(pixels, out):                         # one image at a time fits into the cache
        result[...] = image
        result /= np.float32(255)
        result -= mean
        result /= std
    return out


def normalize_by_tables(pixels, mean, std):
    """The same result as `normalize`, bit by bit, in two thirds of its time: OpenCV looks up the 256 values of each channel."""
    values = np.arange(256, dtype=np.uint8)[None, :, None, None]   # (1, 256, 1, 1): an image of 256 pixels
    return opencv.look_up(pixels, normalize(values.repeat(pixels.shape[3], 3), mean, std)[0])


def random_holes(rng, shape, prob, mode, max_count):
    """Random erasing (https://arxiv.org/abs/1708.04896): with probability `prob`, 1 to `max_count` rectangles for a normalized
    image of `shape` (C, H, W), as [(top, left, values (C, h, w) float32)].

    Together the rectangles cover 2 % to a third of the image; their height / width is 0.3 to 3.3.
    Args:
        mode: 'const' fills with 0, the mean; 'rand' with one normal random colour; 'pixel' with normal noise.
    """
    holes = []
    if rng.random() >= prob:
        return holes
    channels, height, width = shape
    count = int(rng.integers(1, max_count + 1))
    for _ in range(count):
        for _ in range(10):
            area = rng.uniform(0.02, 1 / 3) * height * width / count
            aspect = math.exp(rng.uniform(math.log(0.3), math.log(1 / 0.3)))
            h, w = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
            if h < height and w < width:
                top, left = int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1))
                drawn = {'const': None, 'rand': (channels, 1, 1), 'pixel': (channels, h, w)}[mode]
                values = 0 if drawn is None else rng.standard_normal(drawn, np.float32)
                holes.append((top, left, np.broadcast_to(np.float32(values), (channels, h, w))))
                break
    return holes


def erase(array, holes):
    """Write the holes of `random_holes` into a normalized image (C, H, W)."""
    for top, left, values in holes:
        array[:, top:top + values.shape[1], left:left + values.shape[2]] = values
