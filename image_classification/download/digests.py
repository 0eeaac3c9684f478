"""Digests: check that a file is the published one."""
import hashlib
import json
import re

from image_classification.download.cache import beside, read_json
from image_classification.errors import UserError

_BLOCK = 1 << 18                                                   # bytes


def wanted_digests(sha256, md5):
    """{kind: the digest, or its first digits}, without unknown ones. Raises UserError if one is not a digest."""
    for kind, text, lengths in (('sha256', sha256, '8,64'), ('md5', md5, '32')):
        if text and not re.fullmatch(f'[0-9a-fA-F]{{{lengths}}}', text):
            raise UserError(f'{text!r} is no {kind}; wanted {lengths.replace(",", " to ")} hexadecimal digits')
    return {kind: text.lower() for kind, text in (('sha256', sha256), ('md5', md5)) if text}


def digests_of(path, kinds):
    """{kind: hexadecimal digest} of a file."""
    hashes = {kind: hashlib.new(kind, usedforsecurity=False) for kind in kinds}
    with open(path, 'rb') as file:
        while block := file.read(_BLOCK):
            for item in hashes.values():
                item.update(block)
    return {kind: item.hexdigest() for kind, item in hashes.items()}


def difference(found, wanted):
    """'' if the digests begin as wanted, otherwise a phrase about the one that differs."""
    return next((f'its {kind} is {found[kind]}, wanted {text}{"..." if kind == "sha256" and len(text) < 64 else ""}'
                 for kind, text in wanted.items() if not found[kind].startswith(text)), '')


def checked(target, wanted, url, rehash=False):
    """Compare the digests of `target` and return it. Digests are computed once and noted beside the file, if possible."""
    if not wanted:
        return target
    noted = read_json(beside(target, '.checked'))
    digests = noted.get('digests', {}) if noted.get('state') == _state(target) else {}
    if rehash or not all(kind in digests for kind in wanted):
        digests = digests_of(target, wanted)
        note(target, digests)
    problem = difference(digests, wanted)
    if problem:
        raise UserError(f'{target} is not the file of {url}: {problem}. Delete it to have it fetched, or replace it')
    return target


def note(path, digests):
    try:
        beside(path, '.checked').write_text(json.dumps({'state': _state(path), 'digests': digests}))
    except OSError:                                                # this user may not write to the cache
        pass


def _state(path):
    """The file's size and modification time in nanoseconds, which change if the file is written."""
    return [path.stat().st_size, path.stat().st_mtime_ns]
