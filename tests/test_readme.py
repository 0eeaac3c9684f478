"""The commands of README and of the pages parse, links lead somewhere, and the table of networks says what the code gives."""
import ast
import importlib
import re
import shlex
from pathlib import Path

import pytest

import image_classification as ic
from image_classification.config import argument_parser
import model_table
from tests.networks import outline

PROJECT = Path(__file__).resolve().parents[1]
README, TROUBLESHOOTING = ((PROJECT / name).read_text(encoding='utf-8') for name in ('README.md', 'docs/troubleshooting.md'))
PAGES = sorted((PROJECT / 'docs').rglob('*.md'))
TASKS = ('own_pictures', 'train', 'use', 'weights', 'deploy', 'phone', 'backbones', 'benchmark', 'results', 'add_a_network',
         'troubleshooting', 'api')


def commands_of(text):
    blocks = (re.sub(r' *\\\n *', ' ', block) for block in re.findall(r'```bash\n(.*?)```', text, re.S))
    return [line for block in blocks for line in block.splitlines() if line and not line.startswith('#')]


COMMANDS = [*commands_of(README), *(line for page in TASKS[:7] for line in commands_of((PROJECT / f'docs/{page}.md').read_text(encoding='utf-8')))]
ALL_COMMANDS = [*commands_of(README), *(line for page in PAGES for line in commands_of(page.read_text(encoding='utf-8')))]


@pytest.mark.parametrize('command', [line for line in ALL_COMMANDS if '_gpu.py' in line])
def test_every_training_command_has_known_flags(command):
    words = shlex.split(command.split('_gpu.py', 1)[1])
    argument_parser('').parse_args(words)


def test_the_first_command_is_the_main_job_and_the_second_runs_the_tests():
    assert COMMANDS[0].endswith('main_single_gpu.py -cfg configs/mnist5k/mobileformer_26m.yaml')
    assert COMMANDS[1].endswith('-m pytest')
    assert all(command.startswith('python3 -m venv .venv && ') for command in COMMANDS[:2])


def test_every_file_that_a_command_names_exists():
    for command in ALL_COMMANDS:
        for path in re.findall(r'(?:image_classification|tools|configs)/[\w/]+\.(?:py|yaml)', command):
            assert (PROJECT / path).is_file(), path


@pytest.mark.parametrize('tool', sorted({tool for line in ALL_COMMANDS for tool in re.findall(r'python (tools/\w+\.py)', line)}))
def test_every_command_of_a_tool_has_known_flags(tool, capsys):
    with pytest.raises(SystemExit):
        importlib.import_module(Path(tool).stem).main(['--help'])
    known = capsys.readouterr().out
    for command in ALL_COMMANDS:
        for flag in re.findall(r' (--[\w-]+)', command.split(tool, 1)[1]) if tool in command else ():
            assert re.search(rf'{flag}\b', known), command


NETWORKS = (PROJECT / 'docs' / 'networks.md').read_text(encoding='utf-8')
ROWS = [f'{row}\n' for row in f'{NETWORKS}\n'.split(model_table.HEAD)[1].split('\n\n')[0].splitlines()]


FIRST = {ic.get_config(row.split()[1]).MODEL.TYPE: row for row in reversed(ROWS)}.values()      # of each family


@pytest.mark.parametrize('row', [pytest.param(row, marks=[] if row in FIRST else pytest.mark.slow) for row in ROWS],
                         ids=lambda row: row.split()[1])
def test_a_row_of_the_table_is_true_but_for_the_multiply_adds(row):
    """These are traced, which takes seconds: below, and for a variant of each family in test_golden.py.
    All rows: python -m pytest -m slow tests/test_readme.py"""
    _, name, _, macs, *_ = row.split('|')
    assert row == model_table.line(outline(name.strip()), macs.strip())


@pytest.mark.parametrize('row', [pytest.param(row, marks=[] if 'mobilenet_v3_small_x0_5' in row else pytest.mark.slow) for row in ROWS],
                         ids=lambda row: row.split()[1])
def test_a_row_of_the_table_is_the_one_that_its_tool_prints(row):
    """All rows: python -m pytest -m slow tests/test_readme.py"""
    assert row == model_table.row(row.split()[1])


def test_the_table_is_sorted_and_has_no_row_twice():
    names = [row.split()[1] for row in ROWS]
    assert names == sorted(set(names))


def literals(node):
    """The texts that a tree of Python code makes, with ... for what is computed."""
    if isinstance(node, ast.JoinedStr):
        yield ''.join(part.value if isinstance(part, ast.Constant) else '...' for part in node.values)
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    else:
        for child in ast.iter_child_nodes(node):
            yield from literals(child)


@pytest.fixture(scope='session')
def messages():
    folders = ('image_classification', 'paddle_mobile_backbones', 'tools')
    files = [path for folder in folders for path in (PROJECT / folder).rglob('*.py')]
    return [' '.join(text.split()) for file in files for text in literals(ast.parse(file.read_text(encoding='utf-8')))]


TROUBLES = re.findall(r'^\| `(.+?)` \|', TROUBLESHOOTING, re.M)


@pytest.mark.parametrize('quoted', TROUBLES)
def test_a_message_that_the_troubleshooting_quotes_is_one_of_the_code(quoted, messages):
    wanted = '.*'.join(re.escape(part) for part in quoted.split('...'))
    assert any(re.search(wanted, message) for message in messages)


DOCUMENTS = [PROJECT / name for name in ('README.md', 'README_cn.md', 'CONTRIBUTING.md', 'CHANGELOG.md')] + PAGES


def anchors(path):
    """What may stand behind # in a link to this page: its headings as GitHub writes them."""
    headings = re.findall(r'^#+ (.+)$', re.sub(r'```.*?```', '', path.read_text(encoding='utf-8'), flags=re.S), re.M)
    return {re.sub(r'[^\w\- ]', '', heading.lower()).replace(' ', '-') for heading in headings}


@pytest.mark.parametrize('page', DOCUMENTS, ids=lambda path: path.stem)
def test_every_link_of_a_page_leads_to_a_page_and_to_a_heading(page):
    for target in re.findall(r'\]\(([^)]+)\)', re.sub(r'```.*?```', '', page.read_text(encoding='utf-8'), flags=re.S)):
        if target.startswith('https://'):
            continue
        path, _, anchor = target.partition('#')
        path = (page.parent / path).resolve() if path else page
        assert path.exists(), target
        assert not anchor or anchor in anchors(path), target


@pytest.mark.parametrize('name', TASKS)
def test_a_page_opens_with_the_command_that_most_readers_want(name):
    assert re.match(r'# .+\n\n```(bash|python)\n', (PROJECT / f'docs/{name}.md').read_text(encoding='utf-8'))


TEXTS = [README, *(page.read_text(encoding='utf-8') for page in PAGES if page.name != 'api.md')]
EXAMPLES = [block for text in TEXTS for block in re.findall(r'```python\n(.*?)```', text, re.S)]


def test_python_examples_run():
    names = {}
    for block in EXAMPLES:
        lines = [line for line in block.splitlines(True) if 'pretrained=' not in line and 'load_weights' not in line]
        exec(''.join(lines), names)


def test_published_weights_of_the_examples_exist():
    named = re.findall(r"create_model\('(\w+)', pretrained=(?:'(\w+)'|True)", ''.join(EXAMPLES))
    assert named
    for name, tag in named:
        assert tag in ['', *(known for _, known in ic.list_pretrained(name))] and ic.list_pretrained(name)
