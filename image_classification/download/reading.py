"""`read_address`: a small file from the network, in memory."""
import queue
import threading
import time
import urllib.request
from urllib.parse import quote

from image_classification.download.addresses import SAFE, split_address
from image_classification.download.connection import (BLOCK, HEADERS, PermanentFailure, Redirects, TransientFailure,
                                                       network_failures)
from image_classification.download.environment import PREFIX, is_offline
from image_classification.errors import UserError


def read_address(url, most_bytes, seconds):
    """The content at an http or https address, in memory: neither the cache nor the mirror is asked.

    Args:
        most_bytes: a longer one is refused, before it is read where the server announces its length.
        seconds: for all of it, from the search for the host's number to the last byte.
    Raises:
        UserError: no such address, more bytes, more time, or a connection that fails; names the address.
    """
    parts = split_address(url)
    if is_offline():
        raise UserError(f'{url} is on the network, where {PREFIX}OFFLINE forbids to read. Unset it, or give a file')
    address = quote(parts._replace(fragment='').geturl(), safe=SAFE)
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
        result = _late(seconds)
    if isinstance(result, (TransientFailure, PermanentFailure)):
        raise UserError(f'{url} could not be read: {result}') from None
    if isinstance(result, Exception):
        raise result
    return result


def _late(seconds):
    return PermanentFailure(f'it did not come within {seconds:g} s')


def _read_all(address, most_bytes, seconds, end):
    """The same in this thread, where one piece may last longer than `seconds`: whoever waits says first that they are over."""
    request = urllib.request.Request(address, headers=HEADERS)
    data = bytearray()
    with network_failures(seconds), urllib.request.build_opener(Redirects).open(request, timeout=2 * seconds) as response:
        announced = response.length
        while len(data) + (response.length or 0) <= most_bytes:
            block = response.read1(BLOCK)
            if not block:
                if announced not in (None, len(data)):
                    raise TransientFailure(f'the connection ended after {len(data)} of {announced} bytes')
                return bytes(data)
            if time.monotonic() > end:                             # nobody waits any more
                raise _late(seconds)
            data += block
    raise PermanentFailure(f'it has more than {most_bytes / 1e6:g} MB')
