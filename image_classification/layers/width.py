"""Widths of scaled networks."""
from image_classification.errors import UserError


def check_width(width):
    """Raise UserError for a multiplier that leaves no channels."""
    if width <= 0.0:
        raise UserError(f'MODEL.WIDTH is {width}; wanted a positive multiplier of the channels, e.g. 1.0')


def make_divisible(channels, divisor=8):
    """The multiple of `divisor` nearest to `channels`, at least one of them and never less than 90 % of `channels`."""
    nearest = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return nearest if nearest >= 0.9 * channels else nearest + divisor
