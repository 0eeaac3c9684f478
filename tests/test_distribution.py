"""What the index page, pip and a citation say: pyproject.toml, setup.py, LICENSE, NOTICE, CITATION.cff."""
import re
from pathlib import Path

import pytest
import yaml

import image_classification as ic
from tests.installation.setup_file import read_setup

PROJECT = Path(__file__).resolve().parents[1]
PYPROJECT = (PROJECT / 'pyproject.toml').read_text(encoding='utf-8')
LINKS = r'\]\(([^)\s]+)[^)]*\)|(?:href|src)=["\']([^"\']+)'


def test_no_link_of_the_long_description_is_relative():
    text = read_setup()['long_description']
    found = [first or second for first, second in re.findall(LINKS, text)]
    assert len(found) > 20 and [link for link in found if not re.match('https?://', link)] == []
    assert not re.search(r'^\[[^\]]+\]:', text, re.M)              # no links by reference, which would need the same
    repository = re.search('^Repository = "(.+)"', PYPROJECT, re.M)[1]
    assert f'multiply-adds of the networks of this library]({repository}/raw/main/docs/images/' in text
    own = [link.partition('/blob/main/')[2].partition('#')[0] for link in found if link.startswith(f'{repository}/blob')]
    assert own and all((PROJECT / path).exists() for path in own)


def test_one_version_everywhere():
    citation = yaml.safe_load((PROJECT / 'CITATION.cff').read_text(encoding='utf-8'))
    assert read_setup()['version'] == ic.__version__ == citation['version']
    assert f'version = {{{ic.__version__}}}' in (PROJECT / 'README.md').read_text(encoding='utf-8')
    assert f'paddle_mobile_backbones-{ic.__version__}-' in (PROJECT / 'README.md').read_text(encoding='utf-8')
    assert citation['license'] == 'Apache-2.0' and 'license = "Apache-2.0"' in PYPROJECT
    assert citation['repository-code'] == re.search('^Repository = "(.+)"', PYPROJECT, re.M)[1]


def test_the_licence_is_there_and_the_notice_names_what_others_have_made():
    licence, notice = ((PROJECT / name).read_text(encoding='utf-8') for name in ('LICENSE', 'NOTICE'))
    assert 'Apache License' in licence and 'Version 2.0, January 2004' in licence and 'END OF TERMS AND CONDITIONS' in licence
    for file in re.findall(r'(?:image_classification|tests)/[\w/.]*\w', notice):
        assert (PROJECT / file).exists() or list(PROJECT.glob(f'{file}*')), file
    listed = re.search('^license-files = (.+)$', PYPROJECT, re.M)[1]
    assert all((PROJECT / file).is_file() for file in yaml.safe_load(listed))
    assert {'LICENSE', 'NOTICE'} < set(yaml.safe_load(listed))


@pytest.mark.parametrize('minor', [10, 11, 12, 13])
def test_a_python_that_is_admitted_has_a_classifier(minor):
    assert f'"Programming Language :: Python :: 3.{minor}"' in PYPROJECT and 'requires-python = ">=3.10"' in PYPROJECT
