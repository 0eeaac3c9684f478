"""Which files of a folder are pictures, which are pictures that are not read here, and what no command looks at."""
import os
from collections import Counter
from functools import lru_cache

from PIL import features

from image_classification.installation import how_to_install
from image_classification.names.text import shown

ALWAYS = ('.jpg', '.jpeg', '.jfif', '.png', '.bmp', '.gif', '.webp', '.tif', '.tiff', '.ppm', '.pgm', '.pbm')
HEIC = ('.heic', '.heif', '.hif')          # of the package pillow-heif, the extra `heic`
# Read where this Pillow was built with the decoder: endings, and what PIL.features calls it.
_OF_PILLOW = {'avif': ('.avif', '.avifs'), 'jpg_2000': ('.jp2', '.j2k', '.jpx', '.jpf')}
# Formats of pictures that nothing here reads: those of cameras, of drawing programs and of the web.
_NEVER = ('.jxl', '.jxr', '.wdp', '.hdp', '.bpg', '.flif', '.qoi', '.pnm', '.pam', '.pfm', '.tga', '.pcx', '.dds', '.exr',
          '.hdr', '.ico', '.icns', '.apng', '.svg', '.svgz', '.psd', '.psb', '.xcf', '.eps', '.dcm',
          '.dng', '.cr2', '.cr3', '.crw', '.nef', '.nrw', '.arw', '.srf', '.sr2', '.raf', '.orf', '.rw2', '.raw', '.pef',
          '.srw', '.x3f', '.3fr', '.iiq', '.erf', '.kdc', '.dcr', '.mrw', '.mef', '.mos', '.rwl', '.gpr')
_ALL = (*ALWAYS, *HEIC, *(ending for endings in _OF_PILLOW.values() for ending in endings), *_NEVER)
# What file servers, archivers and systems put beside pictures, as thumbnails or as what was deleted; in small letters.
_OF_SYSTEMS = {'@eadir', '@tmp', '@recycle', '@recently-snapshot', '@__thumb', '#recycle', '#snapshot', '__macosx',
               '$recycle.bin', 'recycler', 'recycled', 'system volume information', 'lost+found', 'found.000', 'thumbs.db',
               'ehthumbs.db', 'ehthumbs_vista.db', 'desktop.ini', 'icon\r', 'network trash folder', 'temporary items',
               'thevolumesettingsfolder'}
_MAGIC = {b'heic': 'HEIC', b'heix': 'HEIC', b'hevc': 'HEIC', b'heim': 'HEIC', b'mif1': 'HEIC', b'msf1': 'HEIC', b'avif': 'AVIF',
          b'avis': 'AVIF'}


@lru_cache(maxsize=1)
def endings():
    """Of the files that are read on this machine, in small letters. Where pillow-heif is installed, Pillow reads HEIC from now
    on."""
    more = [ending for name, some in _OF_PILLOW.items() if _has(name) for ending in some]
    return (*ALWAYS, *more, *(HEIC if _heic_is_read() else ()))


def _has(name):
    return name in (*features.modules, *features.codecs) and bool(features.check(name))    # older ones do not know all names


def _heic_is_read():
    try:
        import pillow_heif
        pillow_heif.register_heif_opener()
    except Exception:                      # not installed, or broken
        return False
    return True


def is_left_out(name):
    """Whether a file or a folder of this name is none of the user's: hidden, or made by a system."""
    return name.startswith('.') or name.lower() in _OF_SYSTEMS


def is_read(name):
    """Whether a file of this name is a picture that is read here."""
    return name.lower().endswith(endings())


def is_picture(name):
    """Whether a file of this name is a picture of any kind, read here or not."""
    return name.lower().endswith(_ALL)


def about_unread(paths, where):
    """A line about pictures of kinds that are not read here, with what to do; '' for none.

    Args:
        where: the folder that they were found in.
    """
    if not paths:
        return ''
    counts = Counter(os.path.splitext(path)[1].lower() for path in paths)
    kinds = ', '.join(f'{count} {ending}' for ending, count in counts.most_common())
    are = 'picture is of a kind that is' if len(paths) == 1 else 'pictures are of kinds that are'
    return f'{shown(where)}: {len(paths)} {are} not read here: {kinds}, e.g. {shown(paths[0])}. {advice(counts)}'


def advice(kinds):
    """What a user does with pictures of these endings."""
    if not set(kinds) & set(HEIC):
        newer = ', or install Pillow 11.3 or newer' if set(kinds) & set(_OF_PILLOW['avif']) else ''
        return f'Convert them to JPEG or PNG{newer}'
    others = '; convert the others to JPEG or PNG' if set(kinds) - set(HEIC) else ''
    return f'To read HEIC, install pillow-heif{how_to_install("heic")}{others}'


def real_kind(file):
    """'HEIC' or 'AVIF' of a path or a stream of a file that begins like one, whatever its name is; '' of any other."""
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
