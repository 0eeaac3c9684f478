"""Downloads one file into the cache, resuming after interruptions."""
import json
import os
import re
import sys
import time
import urllib.error
import urllib.request

from image_classification.download.addresses import mirrored
from image_classification.download.cache import beside, read_json
from image_classification.download.connection import (BLOCK, HEADERS, PermanentFailure, Redirects, TransientFailure,
                                                       network_failures)
from image_classification.download.digests import difference, digests_of, note
from image_classification.progress import progress_bar

LONGEST_WAIT = 60                                                  # seconds at most between two attempts


class Download:
    """The download of one file into the cache. The caller of `run` must hold the file's lock."""

    def __init__(self, url, target, wanted, timeout):
        self.address = mirrored(url)
        self.where = '' if self.address == url else f' at {self.address}'
        self.target, self.wanted, self.timeout = target, wanted, timeout
        self.part, self.notes = beside(target, '.part'), beside(target, '.part.json')
        self.resumed = False                                       # whether the part was begun by an earlier attempt

    def run(self, attempts, delay):
        """Download in as many attempts as needed, check the digest, and give the file its final name."""
        failures = farthest = 0
        while True:
            try:
                self._transfer()
                return self._finish()
            except PermanentFailure as error:
                raise PermanentFailure(f'{error}{self.where}') from None
            except TransientFailure as error:
                size = self._size()
                failures, farthest = (1, size) if size > farthest else (failures + 1, farthest)
                if failures >= attempts:
                    kept = f'; the {size} bytes that came are kept for the next time' if size else ''
                    raise PermanentFailure(f'{error}{self.where}, {failures} times in a row{kept}') from None
                wait = min(max(delay * 2 ** (failures - 1), error.wait), LONGEST_WAIT)
                print(f'{self.target.name}: {error}; trying again in {wait:g} s', file=sys.stderr)
                time.sleep(wait)

    def _transfer(self):
        """Send one request, for the missing rest of the file."""
        notes = read_json(self.notes)
        validator = notes.get('etag') or notes.get('last_modified')
        size = self._size() if validator or self.wanted else 0     # nothing else would show that the file has changed
        self.resumed = size > 0
        if size and size == notes.get('total'):
            return
        headers = dict(HEADERS)
        if size:
            headers['Range'] = f'bytes={size}-'
            if validator:
                headers['If-Range'] = validator
        request = urllib.request.Request(self.address, headers=headers)
        with network_failures(self.timeout):
            try:
                response = urllib.request.build_opener(Redirects).open(request, timeout=self.timeout)
            except urllib.error.HTTPError as error:
                if error.code == 416:                              # the part is longer than the file now is
                    self._drop()
                raise
        with response:
            offset, total = self._reply(response, size, notes)
            self._receive(response, offset, total)

    def _reply(self, response, size, notes):
        """(first byte in the reply, size of the whole file or None), from the reply's headers."""
        head = response.headers
        if head.get_content_type() == 'text/html' and self.target.suffix not in ('.html', '.htm'):
            raise PermanentFailure('the server sends a web page (text/html) instead of the file')
        if response.status == 200:                                 # the whole file; servers without Range always send it
            self.resumed = False
            return 0, response.length
        if response.status != 206 or not size:
            raise PermanentFailure(f'the server answers {response.status}, wanted 200')
        place = re.fullmatch(r'bytes (\d+)-\d+/(\d+|\*)', head.get('Content-Range', ''))
        new = _description(head, int(place[2]) if place and place[2] != '*' else notes.get('total'))
        if not place or int(place[1]) != size or any(notes.get(key) and new[key] and notes[key] != new[key] for key in new):
            self._drop()                                           # the server supports Range, but not If-Range
            raise TransientFailure('the file on the server has changed since its beginning came')
        return size, new['total']

    def _receive(self, response, offset, total):
        """Write the reply's body to the part file, from byte `offset` on."""
        size = f' ({total / 1e6:.1f} MB{f", the first {offset / 1e6:.1f} MB are here" if offset else ""})' if total else ''
        print(f'fetching {self.address}{size}', file=sys.stderr)
        options = {'unit': 'B', 'unit_scale': True, 'unit_divisor': 1024, 'initial': offset}
        with open(self.part, 'ab' if offset else 'wb') as file, progress_bar(None, total, self.target.name, **options) as bar:
            if not offset:                                         # only now, because the old notes belong to the old bytes
                self.notes.write_text(json.dumps(_description(response.headers, total)))
            while True:
                with network_failures(self.timeout):
                    block = response.read1(BLOCK)                  # whatever has arrived, so that little is lost in a crash
                if not block:
                    break
                file.write(block)
                file.flush()
                bar.update(len(block))
            os.fsync(file.fileno())
        if not self._size() or total is not None and self._size() != total:
            raise TransientFailure(f'the connection ended after {self._size()} of {"?" if total is None else total} bytes')

    def _finish(self):
        """Check the digest of the complete part file, then give it its final name."""
        digests = digests_of(self.part, self.wanted)
        problem = difference(digests, self.wanted)
        if problem:
            self._drop()
            # If the part was begun earlier, the cause may be another file of the same size, or a crash of the machine.
            raise (TransientFailure if self.resumed else PermanentFailure)(f'what came is another file, now deleted: {problem}')
        os.replace(self.part, self.target)
        if digests:
            note(self.target, digests)
        self.notes.unlink(missing_ok=True)

    def _size(self):
        return self.part.stat().st_size if self.part.exists() else 0

    def _drop(self):
        self.part.unlink(missing_ok=True)
        self.notes.unlink(missing_ok=True)


def _description(head, total):
    """What a reply's headers say about the file, for comparison when the download is resumed."""
    etag = head.get('ETag', '')                                    # W/...: different files may share it
    return {'etag': '' if etag.startswith('W/') else etag, 'last_modified': head.get('Last-Modified', ''), 'total': total}
