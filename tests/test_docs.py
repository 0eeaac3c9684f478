"""The pages of docs/ say what the code is."""
import ast
import json
import re
from pathlib import Path

import pytest

import image_classification as ic
import api_reference
import family_pages

PROJECT = Path(__file__).resolve().parents[1]
FAMILIES, DOCUMENTS = family_pages.described(), family_pages.documents()


def page(family):
    return (PROJECT / 'docs' / 'families' / f'{family}.md').read_text(encoding='utf-8')


def test_every_page_is_that_of_a_family():
    assert sorted(FAMILIES) == sorted(path.stem for path in (PROJECT / 'docs' / 'families').glob('*.md'))


@pytest.mark.parametrize('path', DOCUMENTS, ids=lambda path: f'{path.parent.name}/{path.name}')
def test_the_tables_of_a_page_are_those_that_the_tool_writes(path):
    """If not: python tools/maintenance/family_pages.py"""
    assert path.read_text(encoding='utf-8') == DOCUMENTS[path]


@pytest.mark.parametrize('family', FAMILIES)
def test_a_family_is_explained_by_words_and_a_picture(family):
    text = page(family)
    assert re.search(r'^## Idea\n\s*\w', text, re.M)
    assert f'](../images/{family}.svg)' in text


@pytest.mark.parametrize('family', FAMILIES)
def test_a_page_has_its_paper_and_how_to_cite_it(family):
    text = page(family)
    paper = re.search(r'https://arxiv\.org/abs/\d+\.\d+', text).group()
    package = PROJECT / 'image_classification' / family
    assert any(paper in path.read_text(encoding='utf-8') for path in package.glob('*.py'))
    entry = re.search(r'```bibtex\n(@\w+\{.*?)```', text, re.S).group(1)
    assert entry.count('{') == entry.count('}')
    assert all(re.search(rf'^  {key} +=', entry, re.M) for key in ('title', 'author', 'year'))


def test_a_page_has_the_rows_of_its_variants_and_of_its_weights():
    text = page('efficientvit')
    for name in FAMILIES['efficientvit']:
        assert f'| {name} | ' in text
    assert '| efficientvit_m0 | `official` | 63.296 % | MIT | microsoft/Cream |' in text


@pytest.mark.parametrize('family', FAMILIES)
def test_a_page_says_that_8_bits_were_not_measured_where_they_were_not(family):
    text = page(family)
    assert ('- 8 bits were not measured.' in text) != ('| [8 bits]' in text)


def test_a_page_has_the_accuracy_of_each_training_that_was_measured():
    for path in (PROJECT / 'docs/results').glob('*.json'):
        facts = json.loads(path.read_text(encoding='utf-8'))
        family = next(family for family, names in FAMILIES.items() if facts['model'] in names)
        assert f'| {facts["top1"]:.2f} % top-1 after {facts["epochs"]} epochs |' in page(family)


def test_the_api_reference_is_what_the_tool_writes():
    """If not: python tools/maintenance/api_reference.py"""
    assert api_reference.TARGET.read_text(encoding='utf-8') == api_reference.reference()


def test_the_api_reference_has_everything_that_the_package_exports():
    text = api_reference.reference()
    assert all(f'### {name}\n' in text for name in ic.__all__)


def test_a_signature_leaves_out_self_and_a_docstring_becomes_lists():
    node = ast.parse('class A:\n    """Does.\n\n    Args:\n        b: what,\n            and more.\n    """\n'
                     '    def __init__(self, b=1): pass').body[0]
    assert api_reference.signature(node) == 'class A(b=1)'
    assert api_reference.markdown(ast.get_docstring(node)) == 'Does.\n\n*Args:*\n\n- `b`: what,\n  and more.'
