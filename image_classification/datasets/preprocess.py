"""The evaluation transform, shared by evaluation, prediction and export."""
import math
from dataclasses import asdict, dataclass, fields

import numpy as np

from image_classification.config import BOUNDS, check
from image_classification.datasets import images, transforms
from image_classification.errors import UserError


@dataclass(frozen=True)
class Preprocess:
    """PIL image -> (channels, image_size, image_size) float32: resize, centre crop, scale to 0..1, normalize, order colours.

    Raises:
        UserError: a value is out of its bounds. The message names the key, the value and what is wanted.
    """
    image_size: int                        # side of the network's input, in pixels
    crop_pct: float                        # the short side is first resized to floor(image_size / crop_pct), as in timm
    interpolation: str
    mean: tuple                            # of RGB pixels in 0..1, per channel; a single number is used for all channels
    std: tuple
    channels: int = 3                      # 1: grey, 3: RGB, 4: RGBA
    color_order: str = 'RGB'               # 'BGR': the network takes blue first, after normalizing

    def __post_init__(self):
        _check('channels', self.channels, self.channels in images.MODES, '1 (grey), 3 (RGB) or 4 (RGBA)')
        _check('image_size', self.image_size, type(self.image_size) is int, 'a whole number')
        object.__setattr__(self, 'mean', self._per_channel('mean'))
        object.__setattr__(self, 'std', self._per_channel('std'))
        for name, key in _KEYS.items():
            check(f'preprocessing: {name} ({key})', getattr(self, name), BOUNDS[key])

    def _per_channel(self, name):
        values = getattr(self, name)
        values = tuple(values) if isinstance(values, (list, tuple)) else (values,)
        _check(name, values, all(_is_number(value) for value in values), 'numbers')
        _check(name, values, len(values) in (1, self.channels), f'1 number or {self.channels}, as there are '
               f'{self.channels} channels')
        return tuple(float(value) for value in values * (self.channels // len(values)))

    @classmethod
    def from_config(cls, cfg, channels=3):
        """The Preprocess of the configuration's DATA. Grey images use the average of the RGB means and standard deviations."""
        data = cfg.DATA
        mean, std = (tuple(v) if channels > 1 else (sum(v) / len(v),) for v in (data.IMAGENET_MEAN, data.IMAGENET_STD))
        return cls(data.IMAGE_SIZE, data.CROP_PCT, data.INTERPOLATION, mean, std, channels, data.COLOR_ORDER)

    @classmethod
    def from_dict(cls, values):
        """The inverse of `to_dict`."""
        names = [field.name for field in fields(cls)]
        if isinstance(values, dict) and set(values) == set(names) - {'color_order'}:
            values = {**values, 'color_order': 'RGB'}              # older exports lack the key
        if not isinstance(values, dict) or set(values) != set(names):
            raise UserError(f'preprocessing is {values!r}; wanted exactly the keys {", ".join(names)}')
        return cls(**values)

    def to_dict(self):
        """Plain numbers, text and lists, for yaml and json."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    def __call__(self, image):
        """PIL image of any mode -> (C, H, W) float32."""
        return self.to_input(self.crop(image))

    def crop(self, image):
        """PIL image of any mode -> PIL image with `channels` channels, `image_size` pixels wide and high."""
        image = images.convert(image, self.channels)
        image = transforms.resize_short(image, math.floor(self.image_size / self.crop_pct), self.interpolation)
        return transforms.center_crop(image, self.image_size, self.image_size)

    def to_input(self, image):
        """PIL image with `channels` channels -> (C, H, W) float32, normalized, in the network's order of colours."""
        return self.normalized(transforms.to_pixels(image)[None])[0]

    def normalized(self, pixels, normalize=transforms.normalize):
        """(B, H, W, C) uint8 -> (B, C, H, W) float32, normalized, in the network's order of colours."""
        order = self.order
        mean, std = (np.array(values)[order] for values in (self.mean, self.std))
        return normalize(pixels if order == slice(None) else pixels[..., order], mean, std)

    @property
    def order(self):
        """The index that puts an image's channels into the network's order of colours."""
        return [2, 1, 0, 3][:self.channels] if self.color_order == 'BGR' and self.channels >= 3 else slice(None)


def _is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


_KEYS = {'image_size': 'DATA.IMAGE_SIZE', 'crop_pct': 'DATA.CROP_PCT', 'interpolation': 'DATA.INTERPOLATION',
         'mean': 'DATA.IMAGENET_MEAN', 'std': 'DATA.IMAGENET_STD', 'color_order': 'DATA.COLOR_ORDER'}


def _check(name, value, good, wanted):
    if not good:
        key = f' ({_KEYS[name]})' if name in _KEYS else ''
        raise UserError(f'preprocessing: {name}{key} is {value!r}; wanted {wanted}')
