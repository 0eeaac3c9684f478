"""The pictures of docs/images are what the tool draws."""
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

import draw_diagrams
from diagrams import scatter
from diagrams.families import FAMILIES
from diagrams.nodes import Box, Branches, Chain, Skip
from diagrams.svg import Canvas

IMAGES = Path(__file__).resolve().parents[2] / 'docs' / 'images'


SOME = ('mobileformer', 'efficientvit', 'mobilenet_v1')


@pytest.mark.parametrize('name', [name if name in SOME else pytest.param(name, marks=pytest.mark.slow) for name in FAMILIES])
def test_the_picture_of_a_family_is_as_the_network_is_now(name):
    assert draw_diagrams.family(name) == (IMAGES / f'{name}.svg').read_text(encoding='utf-8')


def test_the_overview_is_of_the_table_of_all_networks():
    assert draw_diagrams.overview() == (IMAGES / 'overview.svg').read_text(encoding='utf-8')


@pytest.mark.parametrize('path', sorted(IMAGES.glob('*.svg')), ids=lambda path: path.stem)
def test_no_box_or_word_leaves_the_paper(path):
    root = ElementTree.parse(path).getroot()
    width, height = float(root.get('width')), float(root.get('height'))
    for part in root.iter('{http://www.w3.org/2000/svg}rect'):
        x, y = float(part.get('x', 0)), float(part.get('y', 0))
        assert 0 <= x <= x + float(part.get('width')) <= width and 0 <= y <= y + float(part.get('height')) <= height
    for part in root.iter('{http://www.w3.org/2000/svg}text'):
        assert 0 <= float(part.get('x')) <= width and 0 <= float(part.get('y')) <= height


def test_the_overview_names_the_families_on_the_front():
    rows = scatter.read_rows((IMAGES.parents[1] / 'docs' / 'networks.md').read_text(encoding='utf-8'))
    assert {scatter.family_of(name) for name in scatter.front(rows)} == set(scatter.SERIES)


def test_a_branch_never_touches_its_neighbour():
    left, right = Box('conv', 'a convolution'), Chain(Box('pool', 'a pool'), Skip(Box('norm', 'norm')))
    branches = Branches(left, right)
    assert branches.axes[0] + left.right < branches.axes[1] - right.left
    assert branches.left + branches.right >= left.left + left.right + right.left + right.right


def test_words_are_escaped():
    canvas = Canvas()
    canvas.text(0, 0, 'a < b & c')
    assert ElementTree.fromstring(canvas.finish(10, 10, '<title>')).find('{*}text').text == 'a < b & c'
