"""Addresses: which are taken, and which is asked in their place."""
import os
from urllib.parse import quote, urlsplit

from image_classification.download.environment import PREFIX
from image_classification.errors import UserError

SAFE = "%/:?=&~+!$,;'()*[]@"                                      # what `quote` leaves alone in an address


def split_address(url):
    """The parts of an http or https address."""
    try:
        parts = urlsplit(url)
        good = parts.scheme in ('http', 'https') and parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError:                                             # of the port, or of a broken [IPv6] host
        good = False
    if not good:
        raise UserError(f'{url!r} is no address to fetch from; wanted http://... or https://...')
    if '@' in parts.netloc:
        raise UserError(f'the address of {parts.hostname} holds a user name; wanted none: messages would show the password')
    return parts


def mirrored(url):
    """The address to ask for: `url` itself, or the mirror's in its place."""
    parts = split_address(url)
    rest = parts.path + (f'?{parts.query}' if parts.query else '')
    mirror, endpoint = os.environ.get(PREFIX + 'MIRROR'), os.environ.get('HF_ENDPOINT')
    if mirror:
        url = f'{mirror.rstrip("/")}/{parts.netloc}{rest}'
    elif endpoint and parts.netloc == 'huggingface.co':
        url = endpoint.rstrip('/') + rest
    split_address(url)
    return quote(url.partition('#')[0], safe=SAFE)
