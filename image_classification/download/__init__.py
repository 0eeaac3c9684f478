"""Downloads files into a cache on this machine, each once.

Environment variables:
    PADDLE_MOBILE_BACKBONES_HOME     the cache; by default paddle_mobile_backbones in $XDG_CACHE_HOME or ~/.cache
    PADDLE_MOBILE_BACKBONES_MIRROR_HOST  mirror for one host; HOST is its name in capitals, with _ for all characters but
                                     letters and digits: ..._MIRROR_HUGGINGFACE_CO=https://hf-mirror.com
    PADDLE_MOBILE_BACKBONES_MIRROR   mirror M for all other hosts: https://host/path?query is requested as M/host/path?query
    HF_ENDPOINT                      mirror for https://huggingface.co if none is set above, as in Hugging Face's tools
    PADDLE_MOBILE_BACKBONES_OFFLINE  1: never connect, use only the cache
    PADDLE_MOBILE_BACKBONES_TIMEOUT  a connection is given up after so many seconds without a byte; by default 30
    HTTP_PROXY, HTTPS_PROXY, NO_PROXY  as usual

The cache has a folder for each folder of a server. FILE in it has the name that a browser would save it by. Other files may lie
beside it: FILE.part and FILE.part.json are an unfinished download and what the server said about it. FILE.lock is empty and is
kept, because two processes could enter if it were removed. FILE.checked has digests of FILE, with its size and time when they
were computed.
"""
from image_classification.download.cache import cache_directory, cached_path
from image_classification.download.fetching import fetch
from image_classification.download.reachable import reachable
from image_classification.download.reading import read_address

__all__ = ['cache_directory', 'cached_path', 'fetch', 'reachable', 'read_address']
