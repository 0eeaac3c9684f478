"""Draw the pictures of docs/images: python tools/maintenance/draw_diagrams.py [docs/images]

Each family has an SVG with its stages and the shapes of their maps. The scatter plot of README is drawn, too.
"""
import argparse
from pathlib import Path

import paddle

import image_classification as ic
from image_classification.files import write_atomically
from image_classification.progress import progress_bar

from diagrams import scatter
from diagrams.families import FAMILIES
from diagrams.picture import draw

PROJECT = Path(__file__).resolve().parents[2]


def family(name):
    """SVG text of a family's picture."""
    picture = FAMILIES[name]()
    model = ic.create_model(picture.model, features_only=True)
    model.eval()
    size = ic.get_config(picture.model).DATA.IMAGE_SIZE
    with paddle.no_grad():
        maps = model(paddle.zeros([1, 3, size, size]))
    if len(maps) != len(picture.stages):
        raise ValueError(f'{picture.model} gives {len(maps)} maps, but {len(picture.stages)} stages are to be drawn')
    return draw(picture, [3, size, size], [found.shape[1:] for found in maps])


def overview():
    """SVG text of the plot of all families, from the table of all networks."""
    return scatter.draw((PROJECT / 'docs' / 'networks.md').read_text(encoding='utf-8'))


def write_text(path, text):
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding='utf-8'))


def main(argv=None):
    ic.tune_cpu()
    parser = argparse.ArgumentParser(description=__doc__.split(':')[0])
    parser.add_argument('directory', nargs='?', type=Path, default=PROJECT / 'docs' / 'images')
    directory = parser.parse_args(argv).directory
    directory.mkdir(parents=True, exist_ok=True)
    write_text(directory / 'overview.svg', overview())
    for name in progress_bar(list(FAMILIES), label='draw'):
        write_text(directory / f'{name}.svg', family(name))


if __name__ == '__main__':
    main()
