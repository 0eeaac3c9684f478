"""Addresses: which are taken, and which is asked in their place."""
import os
import re
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


def mirror_variable(host):
    """The environment variable that names a mirror for this host alone."""
    return f'{PREFIX}MIRROR_{re.sub("[^A-Za-z0-9]", "_", host).upper()}'


def _is_modelscope(mirror):
    host = urlsplit(mirror).hostname or ''
    return host == 'modelscope.cn' or host.endswith('.modelscope.cn')


def _on_modelscope(path):
    """The path of a file of Hugging Face on ModelScope, whose branches are called master."""
    return path.replace('/resolve/main/', '/resolve/master/', 1)


def _in_place(mirror, path, variable):
    """The address of a path on the mirror that an environment variable names."""
    try:
        split_address(mirror)
    except UserError as error:
        raise UserError(f'the environment variable {variable}: {error}') from None
    return mirror + (_on_modelscope(path) if _is_modelscope(mirror) else path)


def mirrored(url):
    """The address to ask for: `url` itself, or the mirror's in its place."""
    parts = split_address(url)
    rest = parts.path + (f'?{parts.query}' if parts.query else '')
    for variable in (mirror_variable(parts.netloc), PREFIX + 'MIRROR', 'HF_ENDPOINT'):
        mirror = os.environ.get(variable, '').rstrip('/')
        if mirror and (variable != 'HF_ENDPOINT' or parts.netloc == 'huggingface.co'):
            url = _in_place(mirror, f'/{parts.netloc}{rest}' if variable == PREFIX + 'MIRROR' else rest, variable)
            break
    return quote(url.partition('#')[0], safe=SAFE)
