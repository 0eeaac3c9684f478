"""Channels of networks scaled by a width multiplier."""


def make_divisible(channels, divisor=8):
    """The multiple of `divisor` nearest to `channels`, but at least `divisor` and never less than 90 % of `channels`."""
    nearest = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return nearest if nearest >= 0.9 * channels else nearest + divisor
