"""Environment variables for downloads, apart from those for the cache and mirrors."""
import os

from image_classification.errors import UserError

PREFIX = 'PADDLE_MOBILE_BACKBONES_'


def is_offline():
    return os.environ.get(PREFIX + 'OFFLINE', '').lower() not in ('', '0', 'false', 'no', 'off')


def seconds_without_a_byte(seconds):
    text = os.environ.get(PREFIX + 'TIMEOUT') or '30'
    try:
        seconds = float(text if seconds is None else seconds)
    except ValueError:
        seconds = 0
    if not 0 < seconds < 1e6:
        raise UserError(f'{PREFIX}TIMEOUT is {text!r}; wanted a number of seconds above 0')
    return seconds
