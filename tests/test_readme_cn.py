"""README_cn.md says what README.md says, and so does docs/guide_cn.md."""
import re
from itertools import zip_longest

import pytest

from tests.test_readme import PROJECT

COMMENT = {'bash': r'^# .*', 'python': r' {2,}# .*'}               # may be translated, with the prose


def in_english(link):
    """The page of which a Chinese one is the translation; of its parts, whose names are translated, no one in particular."""
    return re.sub(r'guide(_cn)?\.md(#.*)?$', 'guide.md', link.replace('README_cn.md', 'README.md'))


def sections(name):
    """What may not differ between the languages, for each part of a document from one heading to the next.

    Returns:
        list of {'level': of the heading, 'blocks': lines of the blocks without comments, 'tables': names, links and numbers of
        each row, 'names': what stands in `...`, 'links': where links lead}.
    """
    found, language = [], None
    for line in (PROJECT / name).read_text(encoding='utf-8').splitlines():
        if line.startswith('```'):
            language = None if language is not None else line[3:]
        elif language is not None:
            line = re.sub(COMMENT.get(language, '$^'), '', line)
            found[-1]['blocks'] += [line] if line.strip() else []
        elif re.match('#+ ', line):
            found.append({'level': line.index(' '), 'blocks': [], 'tables': [], 'names': set(), 'links': set()})
        else:
            names, links = re.findall('`[^`]+`', line), re.findall(r'\]\(([^)]+)\)', line)
            found[-1]['names'].update(names)
            found[-1]['links'].update(link for link in map(in_english, links) if link not in ('README.md', 'guide.md'))
            if line.startswith('|'):
                found[-1]['tables'].append(sorted([*names, *map(in_english, links), *re.findall(r'\d[\d.,]*\d|\d', line)]))
    return found


ENGLISH, CHINESE = ([*sections(f'README{ending}.md'), *sections(f'docs/guide{ending}.md')] for ending in ('', '_cn'))


@pytest.mark.parametrize('english, chinese', list(zip_longest(ENGLISH, CHINESE, fillvalue={})))
@pytest.mark.parametrize('what', ('level', 'blocks', 'tables', 'names', 'links'))
def test_a_section_has_the_same_in_both_languages(english, chinese, what):
    assert english.get(what) == chinese.get(what)


def test_the_documents_have_commands_and_tables_to_compare():
    assert sum(len(section['blocks']) for section in ENGLISH) > 40
    assert sum(len(section['tables']) for section in [*ENGLISH, *sections('docs/networks.md')]) > 100


@pytest.mark.parametrize('name', ['README_cn.md', 'docs/guide_cn.md'])
def test_the_chinese_lines_break_behind_punctuation(name):
    """Elsewhere a break would show as a space."""
    lines = (PROJECT / name).read_text(encoding='utf-8').splitlines()
    assert not [line for line, after in zip(lines, lines[1:])
                if re.search('[\u4e00-\u9fff]$', line) and re.match('[\u4e00-\u9fff]', after)]
