"""Kinds of files in a folder: pictures, pictures in formats that are not read here, and files that every command skips."""
import os
from collections import Counter
from functools import lru_cache

from PIL import features

from image_classification.installation import how_to_install
from image_classification.names.text import shown

ALWAYS = ('.jpg', '.jpeg', '.jfif', '.png', '.bmp', '.gif', '.webp', '.tif', '.tiff', '.ppm', '.pgm', '.pbm')
HEIC = ('.heic', '.heif', '.hif')          # read with the package pillow-heif, the extra `heic`
# Read if Pillow was built with the decoder: {name in PIL.features: endings}.
_OF_PILLOW = {'avif': ('.avif', '.avifs'), 'jpg_2000': ('.jp2', '.j2k', '.jpx', '.jpf')}
# Picture formats that are never read here: those of cameras, drawing programs and the web.
_NEVER = ('.jxl', '.jxr', '.wdp', '.hdp', '.bpg', '.flif', '.qoi', '.pnm', '.pam', '.pfm', '.tga', '.pcx', '.dds', '.exr',
          '.hdr', '.ico', '.icns', '.apng', '.svg', '.svgz', '.psd', '.psb', '.xcf', '.eps', '.dcm',
          '.dng', '.cr2', '.cr3', '.crw', '.nef', '.nrw', '.arw', '.srf', '.sr2', '.raf', '.orf', '.rw2', '.raw', '.pef',
          '.srw', '.x3f', '.3fr', '.iiq', '.erf', '.kdc', '.dcr', '.mrw', '.mef', '.mos', '.rwl', '.gpr')
_ALL = (*ALWAYS, *HEIC, *(ending for endings in _OF_PILLOW.values() for ending in endings), *_NEVER)
# Files that file servers, archivers and systems put beside pictures, such as thumbnails or deleted files; in lower case.
_OF_SYSTEMS = {'@eadir', '@tmp', '@recycle', '@recently-snapshot', '@__thumb', '#recycle', '#snapshot', '__macosx',
               '$recycle.bin', 'recycler', 'recycled', 'system volume information', 'lost+found', 'found.000', 'thumbs.db',
               'ehthumbs.db', 'ehthumbs_vista.db', 'desktop.ini', 'icon\r', 'network trash folder', 'temporary items',
               'thevolumesettingsfolder'}
_MAGIC = {b'heic': 'HEIC', b'heix': 'HEIC', b'hevc': 'HEIC', b'heim': 'HEIC', b'mif1': 'HEIC', b'msf1': 'HEIC', b'avif': 'AVIF',
          b'avis': 'AVIF'}


@lru_cache(maxsize=1)
def endings():
    """The endings of the files that are read on this machine, in lower case. If pillow-heif is installed, this also makes
    Pillow read HEIC."""
    more = [ending for name, some in _OF_PILLOW.items() if _has(name) for ending in some]
    return (*ALWAYS, *more, *(HEIC if _heic_is_read() else ()))


def _has(name):
    return name in (*features.modules, *features.codecs) and bool(features.check(name))    # older Pillow lacks some names


def _heic_is_read():
    try:
        import pillow_heif
        pillow_heif.register_heif_opener()
    except Exception:                      # not installed, or broken
        return False
    return True


def is_left_out(name):
    """Whether a file or folder with this name is skipped: it is hidden, or made by a system."""
    return name.startswith('.') or name.lower() in _OF_SYSTEMS


def is_read(name):
    """Whether a file with this name is a picture that can be read on this machine."""
    return name.lower().endswith(endings())


def is_picture(name):
    """Whether a file with this name is a picture of any kind, readable on this machine or not."""
    return name.lower().endswith(_ALL)


def about_unread(paths, where):
    """A line that reports pictures of unreadable kinds and says what to do; '' if there are none.

    Args:
        where: the folder in which they were found.
    """
    if not paths:
        return ''
    counts = Counter(os.path.splitext(path)[1].lower() for path in paths)
    kinds = ', '.join(f'{count} {ending}' for ending, count in counts.most_common())
    are = 'picture is of a kind that is' if len(paths) == 1 else 'pictures are of kinds that are'
    return f'{shown(where)}: {len(paths)} {are} not read here: {kinds}, e.g. {shown(paths[0])}. {advice(counts)}'


def advice(kinds):
    """What a user can do with pictures with these endings."""
    if not set(kinds) & set(HEIC):
        newer = ', or install Pillow 11.3 or newer' if set(kinds) & set(_OF_PILLOW['avif']) else ''
        return f'Convert them to JPEG or PNG{newer}'
    others = '; convert the others to JPEG or PNG' if set(kinds) - set(HEIC) else ''
    return f'To read HEIC, install pillow-heif{how_to_install("heic")}{others}'


def real_kind(file):
    """'HEIC' or 'AVIF' if a file, given as a path or a stream, begins like one, whatever its name; otherwise ''."""
    try:
        if hasattr(file, 'read'):
            file.seek(0)
            head = file.read(12)
        else:
            with open(file, 'rb') as stream:
                head = stream.read(12)
    except (OSError, ValueError):
        return ''
    return _MAGIC.get(head[8:12], '') if head[4:8] == b'ftyp' else ''
