"""`read_address`: reads a small file from the network into memory."""
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
    """The bytes at an http or https address. Neither the cache nor a mirror is used.

    Args:
        most_bytes: limit on the size. If the server announces a larger size, nothing is read.
        seconds: limit on the total time, from the DNS lookup to the last byte.
    Raises:
        UserError: the address is invalid, a limit is exceeded, or the connection fails. The message names the address.
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

    # A socket's timeout applies to each piece separately, so a slow server could send for ever.
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
    """As `read_address`, in this thread. Its socket timeout is longer than `seconds`, so that the waiting thread reports the
    timeout first."""
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
            if time.monotonic() > end:                             # the caller no longer waits
                raise _late(seconds)
            data += block
    raise PermanentFailure(f'it has more than {most_bytes / 1e6:g} MB')
