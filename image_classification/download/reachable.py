"""`reachable`: which files are available, without downloading them."""
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

from image_classification.download.addresses import mirrored
from image_classification.download.cache import cached_path
from image_classification.download.connection import (HEADERS, PermanentFailure, Redirects, TransientFailure,
                                                       network_failures)
from image_classification.download.environment import is_offline, seconds_without_a_byte

AT_A_TIME = 8                                                      # connections


def reachable(files, seconds=None):
    """Whether each of `files`, [(url, name, manual)] as for `fetch`, is available, as a list of bool.

    A file is available if it is in the cache, or if its address (or the mirror's) answers with anything but a web page. A host
    that does not answer for one address is not asked again, except for requests that are already running.
    Args:
        seconds: seconds without a byte after which a connection is given up; by default as for downloads.
    Raises:
        UserError: an address, a mirror or `seconds` is invalid.
    """
    seconds, offline, silent = seconds_without_a_byte(seconds), is_offline(), set()

    def can_be_had(file):
        url, name, manual = file
        if cached_path(url, name).is_file():
            return True
        return not manual and not offline and _answers(mirrored(url), seconds, silent)

    with ThreadPoolExecutor(AT_A_TIME) as pool:
        return list(pool.map(can_be_had, files))


def _answers(address, seconds, silent):
    """Whether a server sends the beginning of a file. Adds the host to `silent` if the connection fails."""
    host = urlsplit(address).netloc
    if host in silent:
        return False
    request = urllib.request.Request(address, headers={**HEADERS, 'Range': 'bytes=0-0'})
    try:
        with network_failures(seconds):
            try:
                with urllib.request.build_opener(Redirects).open(request, timeout=seconds) as response:
                    return response.status in (200, 206) and response.headers.get_content_type() != 'text/html'
            except urllib.error.HTTPError as error:                # the server does not have the file
                error.close()
                return False
    except (TransientFailure, PermanentFailure):
        silent.add(host)
        return False
