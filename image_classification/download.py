"""Files from the network, fetched once into a cache on this machine.

Environment variables:
    PADDLE_MOBILE_BACKBONES_HOME     the cache; otherwise paddle_mobile_backbones in $XDG_CACHE_HOME or ~/.cache
    PADDLE_MOBILE_BACKBONES_MIRROR   an address M: https://host/path?query is then asked of M/host/path?query
    HF_ENDPOINT                      stands for https://huggingface.co where no mirror is set, as in Hugging Face's tools
    PADDLE_MOBILE_BACKBONES_OFFLINE  1: never connect, use what the cache has
    PADDLE_MOBILE_BACKBONES_TIMEOUT  seconds without a byte after which a connection is given up, 30 if not set
    HTTP_PROXY, HTTPS_PROXY, NO_PROXY as everywhere

The cache has a folder for each folder of a server, in it FILE under the name that a browser would save it by. Beside it may lie
FILE.part and FILE.part.json (a download's beginning, and what the server said of it), FILE.lock (empty and kept: if it were
removed, two processes could come in) and FILE.checked (digests of FILE, with its size and time when they were taken).
"""
import hashlib
import http.client
import json
import os
import queue
import re
import socket
import ssl
import sys
import threading
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from image_classification.errors import UserError
from image_classification.progress import progress_bar

try:
    from fcntl import LOCK_EX, LOCK_NB, flock
except ImportError:                                                # Windows
    import msvcrt
    flock = None

PREFIX = 'PADDLE_MOBILE_BACKBONES_'
BLOCK = 1 << 18                                                    # bytes
_HEADERS = {'User-Agent': 'paddle-mobile-backbones', 'Accept-Encoding': 'identity'}
_SAFE = "%/:?=&~+!$,;'()*[]@"                                      # what `quote` leaves alone in an address
LONGEST_WAIT = 60                                                  # seconds between two attempts, whatever the server asks for


class _Transient(Exception):
    """A failure that another attempt may not meet; `wait` is the pause in seconds that the server asks for."""

    def __init__(self, message, wait=0):
        super().__init__(message)
        self.wait = wait


class _Permanent(Exception):
    """A failure that every attempt would meet."""


def fetch(url, sha256='', name='', *, md5='', manual=False, rehash=False, timeout=None, attempts=4, delay=1.0):
    """Path of the file at `url` in the cache, fetched if it is not there.

    An interrupted download goes on where it stopped. One process fetches, others that want the same file wait for it. A file
    that the user has put at `cached_path(url, name)` is taken like one that was fetched.
    Args:
        sha256: the published digest or its first 8 or more digits; checked before the file gets its name. A file of the
            cache is hashed again only when its size or time has changed. `md5` is for files that publish no better one.
        name: of the file, where the address does not end in a good one.
        manual: the address is a page for people; never connect.
        rehash: check the digest of a cached file in any case.
        timeout: seconds without a byte after which a connection is given up.
        attempts: after so many in a row without any progress it gives up; after the first it waits `delay` seconds, after
            each further one twice as long.
    Raises:
        UserError: it cannot be had, or has another digest (what was just fetched is deleted then). The message names the
            address and the path where the file can be put by hand.
    """
    target = cached_path(url, name)
    wanted = _wanted_digests(sha256, md5)
    by_hand = f'Fetch {url} by other means and put it at {target}'
    try:
        if target.is_file():
            return _checked(target, wanted, url, rehash)
        if manual:
            raise UserError(f'{url} is a page for people. Open it in a browser and save its file as {target}')
        if _offline():
            raise UserError(f'{target} is not there, and {PREFIX}OFFLINE forbids to fetch it. Unset it, or: {by_hand}')
        download = _Download(url, target, wanted, _timeout(timeout))
        target.parent.mkdir(parents=True, exist_ok=True)
        with _lock(_beside(target, '.lock'), target.name):
            if not target.is_file():                               # else another process has fetched it meanwhile
                download.run(attempts, delay)
        return _checked(target, wanted, url)
    except _Permanent as error:
        raise UserError(f'{url} could not be fetched: {error}. {by_hand}') from None
    except OSError as error:                                       # the network's are _Transient or _Permanent by now
        raise UserError(f'{error.filename or target} cannot be written or read: {error.strerror or error}. Make room or give '
                        f'access there, or set {PREFIX}HOME to another folder, or: {by_hand}') from None


def read_address(url, most_bytes, seconds):
    """The content at an http or https address, in memory: neither the cache nor the mirror is asked.

    Args:
        most_bytes: a longer one is refused, before it is read where the server announces its length.
        seconds: for all of it, from the search for the host's number to the last byte.
    Raises:
        UserError: no such address, more bytes, more time, or a connection that fails; names the address.
    """
    parts = _split(url)
    if _offline():
        raise UserError(f'{url} is on the network, where {PREFIX}OFFLINE forbids to read. Unset it, or give a file')
    address = quote(parts._replace(fragment='').geturl(), safe=_SAFE)
    results = queue.SimpleQueue()
    end = time.monotonic() + seconds

    def run():
        try:
            results.put(_read_all(address, most_bytes, seconds, end))
        except Exception as error:
            results.put(error)

    # A socket's own limit is for each piece that comes: a server may send them slowly for ever.
    threading.Thread(target=run, daemon=True).start()
    try:
        result = results.get(timeout=seconds)
    except queue.Empty:
        result = _Permanent(f'it did not come within {seconds:g} s')
    if isinstance(result, (_Transient, _Permanent)):
        raise UserError(f'{url} could not be read: {result}') from None
    if isinstance(result, Exception):
        raise result
    return result


def _read_all(address, most_bytes, seconds, end):
    """The same in this thread, where one piece may last `seconds`."""
    request = urllib.request.Request(address, headers=_HEADERS)
    data = bytearray()
    with _network(seconds), urllib.request.build_opener(_Redirects).open(request, timeout=seconds) as response:
        announced = response.length
        while len(data) + (response.length or 0) <= most_bytes:
            block = response.read1(BLOCK)
            if not block:
                if announced not in (None, len(data)):
                    raise _Transient(f'the connection ended after {len(data)} of {announced} bytes')
                return bytes(data)
            if time.monotonic() > end:                             # nobody waits any more
                raise _Transient('too late')
            data += block
    raise _Permanent(f'it has more than {most_bytes / 1e6:g} MB')


def cache_directory():
    """The folder of the cache, which need not exist yet."""
    own, base = os.environ.get(PREFIX + 'HOME'), os.environ.get('XDG_CACHE_HOME', '')
    if own:
        return Path(own).expanduser().absolute()
    base = base if os.path.isabs(base) else '~/.cache'             # the XDG specification wants relative paths ignored
    return Path(base).expanduser() / 'paddle_mobile_backbones'


def cached_path(url, name=''):
    """Where `fetch` puts the file of an address, and looks for one put there by hand; it does not depend on the mirror.

    Raises:
        UserError: no http or https address, an address that ends without a file's name, a `name` that is no plain name.
    """
    parts = _split(url)
    folder, _, last = parts.path.rpartition('/')
    if name and not re.fullmatch(r'[\w+@-][\w.+@ -]*', name):
        raise UserError(f'{name!r} cannot be the name of a file in the cache; wanted letters, digits and ._+@- only')
    file = name or re.sub(r'[^A-Za-z0-9._+@-]', '_', unquote(last)).lstrip('.')[-120:]
    if not file:
        raise UserError(f'{url} ends without the name of a file; give the address of the file itself')
    # The folder tells the many model.safetensors apart. A `name` says nothing of the address, so then all of it counts.
    key = f'{parts.netloc}{parts.path if name else folder}?{parts.query}'
    host = re.sub(r'[^A-Za-z0-9.-]', '_', parts.netloc)
    return cache_directory() / f'{host}-{hashlib.sha256(key.encode()).hexdigest()[:8]}' / file


def _split(url):
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


def _mirrored(url):
    """The address to ask for: `url` itself, or the mirror's in its place."""
    parts = _split(url)
    rest = parts.path + (f'?{parts.query}' if parts.query else '')
    mirror, endpoint = os.environ.get(PREFIX + 'MIRROR'), os.environ.get('HF_ENDPOINT')
    if mirror:
        url = f'{mirror.rstrip("/")}/{parts.netloc}{rest}'
    elif endpoint and parts.netloc == 'huggingface.co':
        url = endpoint.rstrip('/') + rest
    _split(url)
    return quote(url.partition('#')[0], safe=_SAFE)


def _offline():
    return os.environ.get(PREFIX + 'OFFLINE', '').lower() not in ('', '0', 'false', 'no', 'off')


def _timeout(seconds):
    text = os.environ.get(PREFIX + 'TIMEOUT') or '30'
    try:
        seconds = float(text if seconds is None else seconds)
    except ValueError:
        seconds = 0
    if not 0 < seconds < 1e6:
        raise UserError(f'{PREFIX}TIMEOUT is {text!r}; wanted a number of seconds above 0')
    return seconds


def _wanted_digests(sha256, md5):
    """{kind: the digest's first digits or all}, without those that are not known."""
    for kind, text, lengths in (('sha256', sha256, '8,64'), ('md5', md5, '32')):
        if text and not re.fullmatch(f'[0-9a-fA-F]{{{lengths}}}', text):
            raise UserError(f'{text!r} is no {kind}; wanted {lengths.replace(",", " to ")} hexadecimal digits')
    return {kind: text.lower() for kind, text in (('sha256', sha256), ('md5', md5)) if text}


def _digests(path, kinds):
    """{kind: hexadecimal digest} of a file."""
    hashes = {kind: hashlib.new(kind, usedforsecurity=False) for kind in kinds}
    with open(path, 'rb') as file:
        while block := file.read(BLOCK):
            for item in hashes.values():
                item.update(block)
    return {kind: item.hexdigest() for kind, item in hashes.items()}


def _difference(found, wanted):
    """'' if the digests begin as wanted, otherwise which does not."""
    return next((f'its {kind} is {found[kind]}, wanted {text}{"..." if kind == "sha256" and len(text) < 64 else ""}'
                 for kind, text in wanted.items() if not found[kind].startswith(text)), '')


def _checked(target, wanted, url, rehash=False):
    """`target`, after its digests have been compared; they are taken once and noted beside it, where that can be written."""
    if not wanted:
        return target
    noted = _read_json(_beside(target, '.checked'))
    digests = noted.get('digests', {}) if noted.get('state') == _state(target) else {}
    if rehash or not all(kind in digests for kind in wanted):
        digests = _digests(target, wanted)
        _note(target, digests)
    problem = _difference(digests, wanted)
    if problem:
        raise UserError(f'{target} is not the file of {url}: {problem}. Delete it to have it fetched, or replace it')
    return target


def _note(path, digests):
    try:
        _beside(path, '.checked').write_text(json.dumps({'state': _state(path), 'digests': digests}))
    except OSError:                                                # a cache that only others may write
        pass


def _state(path):
    """Size and time in nanoseconds: what changes when somebody writes the file."""
    return [path.stat().st_size, path.stat().st_mtime_ns]


def _read_json(path):
    """The dict in a note; an empty one where it is missing, or broken by a crash while it was written."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _beside(path, ending):
    return path.with_name(path.name + ending)


@contextmanager
def _lock(path, name):
    """Hold the lock on a file, waiting for another process if need be. The system frees it if the process dies."""
    with open(path, 'ab') as file:
        if not _try_lock(file):
            print(f'waiting for another process that fetches {name}', file=sys.stderr)
            while not _try_lock(file):
                time.sleep(0.1)
        yield                                                      # then closing the file frees the lock


def _try_lock(file):
    try:
        if flock:
            flock(file, LOCK_EX | LOCK_NB)
        else:
            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    except (BlockingIOError, PermissionError):                     # the latter on Windows
        return False
    return True


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Redirects with all headers (Range among them), 308 too, to http and https only and never from https back to http."""

    def redirect_request(self, req, fp, code, msg, headers, newurl):
        if urlsplit(newurl).scheme not in {'https', req.type}:
            raise _Permanent(f'the server redirects to {newurl}, which is not safe to follow')
        return urllib.request.Request(newurl.replace(' ', '%20'), headers=req.headers, unverifiable=True)

    http_error_308 = urllib.request.HTTPRedirectHandler.http_error_302      # Python 3.10 does not know it


@contextmanager
def _network(timeout):
    """Turn what the network raises into _Transient or _Permanent."""
    try:
        yield
    except urllib.error.HTTPError as error:
        error.close()
        if error.code in (301, 302, 303, 307, 308):
            raise _Permanent(f'the server redirects in circles or elsewhere than to http and https ({error.code})') from None
        text = f'the server answers {error.code} {error.reason}'
        if error.code in (408, 416, 425, 429) or error.code >= 500:
            asked = error.headers.get('Retry-After', '')
            raise _Transient(text, int(asked) if re.fullmatch('[0-9]{1,6}', asked) else 0) from None
        raise _Permanent(text) from None
    except (OSError, http.client.HTTPException, ValueError) as error:      # ValueError: a length or a redirect that is none
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        if isinstance(reason, TimeoutError):
            raise _Transient(f'nothing came for {timeout:g} s') from None
        final = isinstance(reason, ssl.SSLCertVerificationError) or getattr(reason, 'errno', 0) == socket.EAI_NONAME
        text = f'the connection failed ({getattr(reason, "strerror", None) or reason or type(reason).__name__})'
        raise (_Permanent if final else _Transient)(text) from None


class _Download:
    """One file on its way into the cache; whoever runs it holds the lock."""

    def __init__(self, url, target, wanted, timeout):
        self.address = _mirrored(url)
        self.where = '' if self.address == url else f' at {self.address}'
        self.target, self.wanted, self.timeout = target, wanted, timeout
        self.part, self.notes = _beside(target, '.part'), _beside(target, '.part.json')
        self.resumed = False                                       # whether the part was begun by an earlier attempt

    def run(self, attempts, delay):
        """Attempts until the file is complete, has its digest and bears its name."""
        failures = farthest = 0
        while True:
            try:
                self._transfer()
                return self._finish()
            except _Permanent as error:
                raise _Permanent(f'{error}{self.where}') from None
            except _Transient as error:
                size = self._size()
                failures, farthest = (1, size) if size > farthest else (failures + 1, farthest)
                if failures >= attempts:
                    kept = f'; the {size} bytes that came are kept for the next time' if size else ''
                    raise _Permanent(f'{error}{self.where}, {failures} times in a row{kept}') from None
                wait = min(max(delay * 2 ** (failures - 1), error.wait), LONGEST_WAIT)
                print(f'{self.target.name}: {error}; trying again in {wait:g} s', file=sys.stderr)
                time.sleep(wait)

    def _transfer(self):
        """One request, for what is missing of the part."""
        notes = _read_json(self.notes)
        validator = notes.get('etag') or notes.get('last_modified')
        size = self._size() if validator or self.wanted else 0     # nothing else tells that the file has changed meanwhile
        self.resumed = size > 0
        if size and size == notes.get('total'):
            return
        headers = dict(_HEADERS)
        if size:
            headers['Range'] = f'bytes={size}-'
            if validator:
                headers['If-Range'] = validator
        request = urllib.request.Request(self.address, headers=headers)
        with _network(self.timeout):
            try:
                response = urllib.request.build_opener(_Redirects).open(request, timeout=self.timeout)
            except urllib.error.HTTPError as error:
                if error.code == 416:                              # the part is longer than the file is now
                    self._drop()
                raise
        with response:
            offset, total = self._reply(response, size, notes)
            self._receive(response, offset, total)

    def _reply(self, response, size, notes):
        """(byte at which the reply begins, bytes of the whole file or None), from the reply's head."""
        head = response.headers
        if head.get_content_type() == 'text/html' and self.target.suffix not in ('.html', '.htm'):
            raise _Permanent('the server sends a web page (text/html) instead of the file')
        if response.status == 200:                                 # all of it, also where the server does not know Range
            self.resumed = False
            return 0, response.length
        if response.status != 206 or not size:
            raise _Permanent(f'the server answers {response.status}, wanted 200')
        place = re.fullmatch(r'bytes (\d+)-\d+/(\d+|\*)', head.get('Content-Range', ''))
        new = _description(head, int(place[2]) if place and place[2] != '*' else notes.get('total'))
        if not place or int(place[1]) != size or any(notes.get(key) and new[key] and notes[key] != new[key] for key in new):
            self._drop()                                           # a server that knows Range, but not If-Range
            raise _Transient('the file on the server has changed since its beginning came')
        return size, new['total']

    def _receive(self, response, offset, total):
        """Write the reply's body to the part, from byte `offset` on."""
        size = f' ({total / 1e6:.1f} MB{f", the first {offset / 1e6:.1f} MB are here" if offset else ""})' if total else ''
        print(f'fetching {self.address}{size}', file=sys.stderr)
        options = {'unit': 'B', 'unit_scale': True, 'unit_divisor': 1024, 'initial': offset}
        with open(self.part, 'ab' if offset else 'wb') as file, progress_bar(None, total, self.target.name, **options) as bar:
            if not offset:                                         # only now: the old notes were those of the old bytes
                self.notes.write_text(json.dumps(_description(response.headers, total)))
            while True:
                with _network(self.timeout):
                    block = response.read1(BLOCK)                  # what is there, so that little is lost in a crash
                if not block:
                    break
                file.write(block)
                file.flush()
                bar.update(len(block))
            os.fsync(file.fileno())
        if not self._size() or total is not None and self._size() != total:
            raise _Transient(f'the connection ended after {self._size()} of {"?" if total is None else total} bytes')

    def _finish(self):
        """Compare the digest of the complete part, then give it its name."""
        digests = _digests(self.part, self.wanted)
        problem = _difference(digests, self.wanted)
        if problem:
            self._drop()
            # A part begun earlier may be to blame, by another file of the same size or a crash of the machine.
            raise (_Transient if self.resumed else _Permanent)(f'what came is another file, now deleted: {problem}')
        os.replace(self.part, self.target)
        if digests:
            _note(self.target, digests)
        self.notes.unlink(missing_ok=True)

    def _size(self):
        return self.part.stat().st_size if self.part.exists() else 0

    def _drop(self):
        self.part.unlink(missing_ok=True)
        self.notes.unlink(missing_ok=True)


def _description(head, total):
    """What a reply's head says of the file, to be compared when the download goes on later."""
    etag = head.get('ETag', '')                                    # W/...: files that differ may share it
    return {'etag': '' if etag.startswith('W/') else etag, 'last_modified': head.get('Last-Modified', ''), 'total': total}
