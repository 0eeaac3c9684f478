"""Files from the network, fetched once into a cache on this machine.

Environment variables:
    PADDLE_MOBILE_BACKBONES_HOME     the cache; otherwise paddle_mobile_backbones in $XDG_CACHE_HOME or ~/.cache
    PADDLE_MOBILE_BACKBONES_MIRROR_HOST  stands for https://host, of which HOST is the name in capitals with _ for all but
                                     letters and digits: ..._MIRROR_HUGGINGFACE_CO=https://hf-mirror.com
    PADDLE_MOBILE_BACKBONES_MIRROR   for other hosts, an address M: https://host/path?query is then asked of M/host/path?query
    HF_ENDPOINT                      stands for https://huggingface.co where no mirror is set, as in Hugging Face's tools
    PADDLE_MOBILE_BACKBONES_OFFLINE  1: never connect, use what the cache has
    PADDLE_MOBILE_BACKBONES_TIMEOUT  seconds without a byte after which a connection is given up, 30 if not set
    HTTP_PROXY, HTTPS_PROXY, NO_PROXY as everywhere

The cache has a folder for each folder of a server, in it FILE under the name that a browser would save it by. Beside it may lie
FILE.part and FILE.part.json (a download's beginning, and what the server said of it), FILE.lock (empty and kept: if it were
removed, two processes could come in) and FILE.checked (digests of FILE, with its size and time when they were taken).
"""
from image_classification.download.cache import cache_directory, cached_path
from image_classification.download.fetching import fetch
from image_classification.download.reachable import reachable
from image_classification.download.reading import read_address

__all__ = ['cache_directory', 'cached_path', 'fetch', 'reachable', 'read_address']
