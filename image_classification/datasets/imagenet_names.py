"""Names of ImageNet's 1,000 classes: the first word of each entry of WordNet 3.0, in the order of ILSVRC 2012.

imagenet_classes.tsv has a line `id<tab>name` for each class; imagenet_classes.LICENSE.txt has the licence of the names. Two
names are longer than the first word, as in torchvision, because that word is also the name of another class.
"""
from functools import lru_cache
from pathlib import Path

FILE = Path(__file__).with_name('imagenet_classes.tsv')


@lru_cache(maxsize=1)
def imagenet_classes():
    """{id, like 'n01440764': name}, in the order of the classes."""
    lines = FILE.read_text(encoding='utf-8').splitlines()
    return dict(line.split('\t') for line in lines)


def names_to_show(names, count):
    """A list with one name for each of `count` classes.

    1,000 classes get ImageNet's names if they have no names, only numbers (a data set of lists), or only ImageNet's ids
    (folders named by them). Any other classes without names are numbered.
    """
    names = [str(name) for name in names]
    numbers = [str(index) for index in range(count)]
    known = imagenet_classes() if count == 1000 else {}
    if known and (names in ([], numbers) or names == list(known)):
        return list(known.values())
    return names or numbers
