"""README_cn.md has the commands, figures and links of README.md, and docs/guide_cn.md those of the English pages."""
import re

import pytest

from tests.test_readme import PAGES, PROJECT

COMMENT = {'bash': r'^# .*', 'python': r' {2,}# .*'}               # may be translated, with the prose


def read(name):
    return (PROJECT / name).read_text(encoding='utf-8')


def commands(text):
    """The lines of all blocks, without comments."""
    return [line for language, block in re.findall(r'^```(\w*)\n(.*?)^```', text, re.S | re.M)
            for line in (re.sub(COMMENT.get(language, '$^'), '', line) for line in block.splitlines()) if line.strip()]


def prose(text):
    return re.sub(r'^```.*?^```', '', text, flags=re.S | re.M)


def figures(text):
    """The numbers of each row of a table, sorted: languages order their words differently. One word or digit may be the same number."""
    rows = [line for line in prose(text).splitlines() if line.startswith('|')]
    return [sorted(re.findall(r'\d[\d.,]*\d|\d', re.sub(r'\]\([^)]*\)', ']', row))) for row in rows]


def links(text):
    found = re.findall(r'\]\(([^)]+)\)', prose(text))
    return sorted({re.sub(r'#.*', '', link) for link in found if not re.search(r'README(_cn)?\.md$|guide_cn\.md', link)})


@pytest.mark.parametrize('what', [commands, figures, links])
def test_the_chinese_readme_has_the_same(what):
    assert what(read('README_cn.md')) == what(read('README.md'))


def test_the_chinese_guide_has_commands_of_the_english_pages():
    english = {line for page in PAGES if page.name != 'guide_cn.md' for line in commands(page.read_text(encoding='utf-8'))}
    assert [line for line in commands(read('docs/guide_cn.md')) if line not in english] == []


def test_the_documents_have_commands_and_figures_to_compare():
    assert len(commands(read('README.md'))) > 25 and sum(map(len, figures(read('README.md')))) > 30
    assert len(commands(read('docs/guide_cn.md'))) > 20


@pytest.mark.parametrize('name', ['README_cn.md', 'docs/guide_cn.md'])
def test_the_chinese_lines_break_behind_punctuation(name):
    """Elsewhere a break would show as a space."""
    lines = read(name).splitlines()
    assert not [line for line, after in zip(lines, lines[1:])
                if re.search('[\u4e00-\u9fff]$', line) and re.match('[\u4e00-\u9fff]', after)]
