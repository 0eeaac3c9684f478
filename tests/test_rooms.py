"""No import leads up, none in a circle: `image_classification/README.md` has the order of the rooms."""
import ast
import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / 'image_classification'
MOST_LOOSE_MODULES = 10


def modules(package):
    """{dotted name: path} of all modules below a package's directory; a package bears the name of its directory."""
    found = {}
    for path in sorted(package.rglob('*.py')):
        parts = path.relative_to(package.parent).with_suffix('').parts
        found['.'.join(parts[:-1] if parts[-1] == '__init__' else parts)] = path
    return found


def imports(name, path, known):
    """The modules among `known` that a module imports, anywhere in its file; absolute imports and relative ones."""
    package = name if path.name == '__init__.py' else name.rpartition('.')[0]
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        if isinstance(node, ast.Import):
            wanted = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ''
            if node.level:
                parents = package.split('.')
                base = '.'.join(parents[:len(parents) - node.level + 1] + ([base] if base else []))
            # `from package import module` is an import of the module.
            wanted = [f'{base}.{alias.name}' if f'{base}.{alias.name}' in known else base for alias in node.names]
        else:
            continue
        yield from (target for target in wanted if target in known and target != name)


def graph(package):
    known = modules(package)
    return {name: sorted(set(imports(name, path, known))) for name, path in known.items()}


def order_of_rooms(package):
    """{room: its floor}, 0 at the top, from the first table of the package's README.md."""
    table = (package / 'README.md').read_text(encoding='utf-8').split('|---|---|\n')[1].split('\n\n')[0]
    floors = {}
    for floor, row in enumerate(table.splitlines()):
        first = row.split('|')[1]
        rooms = re.findall(r'`(\w+)`', first) or sorted(path.parent.name for path in package.glob('*/model.py'))
        floors.update(dict.fromkeys(rooms, floor))
    return floors


def arrows_up(package):
    """['a.b -> c.d'] of imports that do not lead down to a lower room or stay in their own."""
    floors = order_of_rooms(package)
    room = {name: name.split('.')[1] for name in graph(package) if '.' in name}
    found = []
    for name, targets in graph(package).items():
        for target in targets:
            if name not in room or target not in room or room[name] == room[target]:
                continue
            if floors[room[name]] >= floors[room[target]]:
                found.append(f'{name} -> {target}')
    return found


def circles(package):
    """Groups of modules that reach each other by imports."""
    edges = graph(package)

    def reached(start):
        seen, todo = set(), list(edges[start])
        while todo:
            name = todo.pop()
            if name not in seen:
                seen.add(name)
                todo += edges[name]
        return seen

    reach = {name: reached(name) for name in edges}
    return sorted({tuple(sorted(other for other in reach[name] if name in reach[other])) for name in edges if name in reach[name]})


def test_no_import_leads_up():
    assert arrows_up(PACKAGE) == []


def test_no_two_files_import_each_other_on_any_way():
    assert circles(PACKAGE) == []


def test_every_room_has_its_place_in_the_order():
    rooms = {path.name for path in PACKAGE.iterdir() if (path / '__init__.py').is_file()}
    rooms |= {path.stem for path in PACKAGE.glob('*.py') if path.stem != '__init__'}
    assert rooms == set(order_of_rooms(PACKAGE))


def test_few_modules_lie_loose():
    assert len(list(PACKAGE.glob('*.py'))) <= MOST_LOOSE_MODULES


@pytest.fixture
def house(tmp_path):
    """house({'room/file.py': code}): a package of two rooms, `top` above `ground`, with these files."""
    def build(files):
        package = tmp_path / 'house'
        for name, code in {'__init__.py': '', 'top/__init__.py': '', 'ground/__init__.py': '', **files}.items():
            (package / name).parent.mkdir(parents=True, exist_ok=True)
            (package / name).write_text(code)
        (package / 'README.md').write_text('| room | holds |\n|---|---|\n| `top` | |\n| `ground` | |\n\n')
        return package
    return build


@pytest.mark.parametrize('code', ['from house.top import a', 'import house.top.a', 'def f():\n    from house.top.a import b',
                                  'from ..top import a', 'from ..top.a import b'])
def test_an_arrow_that_leads_up_is_found(house, code):
    package = house({'top/a.py': '', 'ground/g.py': code})
    assert arrows_up(package) == ['house.ground.g -> house.top.a']


def test_a_circle_inside_a_room_is_found(house):
    package = house({'top/a.py': 'from house.top import b', 'top/b.py': 'def f():\n    from house.top.c import x',
                     'top/c.py': 'import house.top.a', 'ground/g.py': ''})
    assert circles(package) == [('house.top.a', 'house.top.b', 'house.top.c')]


def test_downwards_is_allowed(house):
    package = house({'top/a.py': 'from house.ground import g', 'ground/g.py': 'import ast'})
    assert arrows_up(package) == [] and circles(package) == []
