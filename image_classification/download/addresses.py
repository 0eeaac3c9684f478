"""Checks addresses and replaces them by those of mirrors."""
import os
import re
from urllib.parse import quote, urlsplit

from image_classification.download.environment import PREFIX
from image_classification.errors import UserError

SAFE = "%/:?=&~+!$,;'()*[]@"                                      # characters that `quote` leaves unchanged in an address


def split_address(url):
    """The parts of an http or https address. Raises UserError for any other address, or one with a user name."""
    try:
        parts = urlsplit(url)
        good = parts.scheme in ('http', 'https') and parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError:                                             # a bad port or a broken [IPv6] host
        good = False
    if not good:
        raise UserError(f'{url!r} is no address to fetch from; wanted http://... or https://...')
    if '@' in parts.netloc:
        raise UserError(f'the address of {parts.hostname} holds a user name; wanted none: messages would show the password')
    return parts


def mirror_variable(host):
    """The environment variable with the mirror for this host only."""
    return f'{PREFIX}MIRROR_{re.sub("[^A-Za-z0-9]", "_", host).upper()}'


def _is_modelscope(mirror):
    host = urlsplit(mirror).hostname or ''
    return host == 'modelscope.cn' or host.endswith('.modelscope.cn')


def _on_modelscope(path):
    """A path of Hugging Face as a path of ModelScope, whose main branches are called master."""
    return path.replace('/resolve/main/', '/resolve/master/', 1)


def _in_place(mirror, path, variable):
    """The address of a path on the mirror given by an environment variable."""
    try:
        split_address(mirror)
    except UserError as error:
        raise UserError(f'the environment variable {variable}: {error}') from None
    return mirror + (_on_modelscope(path) if _is_modelscope(mirror) else path)


def mirrored(url):
    """The address to request: `url` itself, or that of a mirror."""
    parts = split_address(url)
    rest = parts.path + (f'?{parts.query}' if parts.query else '')
    for variable in (mirror_variable(parts.netloc), PREFIX + 'MIRROR', 'HF_ENDPOINT'):
        mirror = os.environ.get(variable, '').rstrip('/')
        if mirror and (variable != 'HF_ENDPOINT' or parts.netloc == 'huggingface.co'):
            url = _in_place(mirror, f'/{parts.netloc}{rest}' if variable == PREFIX + 'MIRROR' else rest, variable)
            break
    return quote(url.partition('#')[0], safe=SAFE)
