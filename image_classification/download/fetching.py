"""`fetch`: a file from the cache, downloaded if it is not there."""
from image_classification.download.cache import beside, cached_path, lock
from image_classification.download.connection import PermanentFailure
from image_classification.download.digests import checked, wanted_digests
from image_classification.download.environment import PREFIX, is_offline, seconds_without_a_byte
from image_classification.download.transfer import Download
from image_classification.errors import UserError


def fetch(url, sha256='', name='', *, md5='', manual=False, rehash=False, timeout=None, attempts=4, delay=1.0):
    """Path of the file at `url` in the cache. It is downloaded if it is not there.

    An interrupted download is resumed. One process downloads, and others that want the same file wait for it. A file that the
    user has put at `cached_path(url, name)` counts as downloaded.
    Args:
        sha256: the published digest, or its first 8 or more digits; checked before the file gets its final name. A cached file
            is hashed again only if its size or time has changed.
        name: the file's name, if the address does not end in a suitable one.
        md5: for files without a published SHA-256.
        manual: the address is a web page to be opened by hand; never connect.
        rehash: check the digest of a cached file in any case.
        timeout: seconds without a byte after which a connection is given up.
        attempts: number of attempts in a row without progress after which the download fails.
        delay: seconds to wait after the first attempt; doubled after each further one.
    Raises:
        UserError: the file cannot be downloaded, or has another digest (a file just downloaded is deleted then). The message
            names the address and the path where the file can be put by hand.
    """
    target = cached_path(url, name)
    wanted = wanted_digests(sha256, md5)
    by_hand = f'Fetch {url} by other means and put it at {target}'
    try:
        if target.is_file():
            return checked(target, wanted, url, rehash)
        if manual:
            raise UserError(f'{url} is a page for people. Open it in a browser and save its file as {target}')
        if is_offline():
            raise UserError(f'{target} is not there, and {PREFIX}OFFLINE forbids to fetch it. Unset it, or: {by_hand}')
        download = Download(url, target, wanted, seconds_without_a_byte(timeout))
        target.parent.mkdir(parents=True, exist_ok=True)
        with lock(beside(target, '.lock'), target.name):
            if not target.is_file():                               # otherwise another process has downloaded it meanwhile
                download.run(attempts, delay)
        return checked(target, wanted, url)
    except PermanentFailure as error:
        raise UserError(f'{url} could not be fetched: {error}. {by_hand}') from None
    except OSError as error:                                       # of a file: those of the network are failures by now
        raise UserError(f'{error.filename or target} cannot be written or read: {error.strerror or error}. Make room or give '
                        f'access there, or set {PREFIX}HOME to another folder, or: {by_hand}') from None
