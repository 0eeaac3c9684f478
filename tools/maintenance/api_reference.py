"""Write docs/api.md, the reference of the public functions and classes, from signatures and docstrings:

    python tools/maintenance/api_reference.py

The source is parsed, not imported, so no optional package is needed.
"""
import ast
import re
import textwrap
from pathlib import Path

from image_classification.files import write_atomically

from family_pages import ORDER

PROJECT = Path(__file__).resolve().parents[2]
PACKAGE = 'image_classification'
TARGET = PROJECT / 'docs' / 'api.md'
CHOSEN = {                                                         # module: its names, None for all of its __all__
    '': None, 'weights': ('from_torch', 'to_torch', 'read_weights', 'write_safetensors'), 'explain': None, 'deploy': None,
    'deploy.export': ('export_model',), 'deploy.engines': ('available', 'engines_of', 'open_engine'),
    'deploy.inference': ('create_predictor', 'run'), 'deploy.quantize': ('quantize_export',), 'datasets': None,
    'integrations.backbones': ('Backbone',), 'integrations.paddle_model': ('AuxiliaryLoss',),
    'layers': ('Network', 'PlainNetwork', 'Stage', 'levels_of', 'Conv2D', 'DropPath', 'FeatureExtractor'),
    **dict.fromkeys(ORDER)}
LAZY = {'weights': 'weights.loading'}    # package: the module whose functions it imports on first use
SECTION = re.compile(r'(Args|Returns|Raises|Yields):(.*)')


def source_of(module):
    """The file of a module or package below image_classification."""
    path = PROJECT.joinpath(PACKAGE, *filter(None, module.split('.')))
    return path / '__init__.py' if path.is_dir() else path.with_suffix('.py')


def tree_of(module):
    return ast.parse(source_of(module).read_text(encoding='utf-8'))


def lazy_names(module=''):
    """{name: its module} for names that a package imports on first use; {} if it imports everything at once."""
    return next((ast.literal_eval(node.value) for node in tree_of(module).body
                 if isinstance(node, ast.Assign) and getattr(node.targets[0], 'id', '') == '_MODULES'), {})


def find(module, name):
    """The definition of a module's name, followed through imports. None if it is no function or class."""
    if name in lazy_names(module):
        return find('.'.join(filter(None, [module, lazy_names(module)[name]])), name)
    module = LAZY.get(module, module)
    for node in ast.walk(tree_of(module)):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name == name:
            return node
        if isinstance(node, ast.ImportFrom) and (node.module or '').startswith(PACKAGE):
            for alias in node.names:
                if name == (alias.asname or alias.name):
                    return find(node.module[len(PACKAGE):].lstrip('.'), alias.name)
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Name) and node.value.id != name:
            if any(getattr(target, 'id', '') == name for target in node.targets):
                return find(module, node.value.id)
    return None


def exported(module):
    """The names in a module's __all__."""
    if not module:
        return sorted(lazy_names())
    for node in tree_of(module).body:
        if isinstance(node, ast.Assign) and any(getattr(target, 'id', '') == '__all__' for target in node.targets):
            return ast.literal_eval(node.value)
    raise ValueError(f'{source_of(module)} has no __all__; add one, or name what is to be documented in CHOSEN')


def signature(node):
    """The signature, e.g. `name(a, b=1)`. A class has the arguments of its __init__, a dataclass its fields."""
    function = node
    if isinstance(node, ast.ClassDef):
        function = next((part for part in node.body if isinstance(part, ast.FunctionDef) and part.name == '__init__'), None)
    if function is None:
        fields = [part.target.id for part in node.body if isinstance(part, ast.AnnAssign)]
        return f'class {node.name}({", ".join(fields)})' if fields else f'class {node.name}'
    arguments = re.sub(r'^(self|cls)(, )?', '', ast.unparse(function.args))
    return f'{"class " if function is not node else ""}{node.name}({arguments})'


def methods(node):
    """Public methods of a class that have a docstring."""
    return [part for part in node.body if isinstance(part, ast.FunctionDef) and not part.name.startswith('_')
            and ast.get_docstring(part)]


def markdown(docstring):
    """A docstring as Markdown. The parts about arguments and results become lists."""
    lines, inside = [], False
    for line in docstring.splitlines():
        section = SECTION.fullmatch(line)
        if section:
            inside = True
            lines += ['', f'*{section.group(1)}:*{section.group(2)}', '']
        elif inside and line.startswith('    '):
            entry = re.match(r'    ([\w, ]+): ', line)
            lines.append(re.sub(r'^    ([\w, ]+): ', r'- `\1`: ', line) if entry else line.strip() and f'  {line.strip()}')
        else:
            inside = False
            lines.append(line)
    text = re.sub(r'<(?=\w)', '&lt;', '\n'.join(lines))            # <run> would be read as a tag
    return re.sub(r'\n{3,}', '\n\n', text).strip()


def entry(module, name):
    node = find(module, name)
    if node is None:
        raise ValueError(f'{PACKAGE}.{module} has no function or class {name}')
    text = [f'### {name}\n', f'```python\n{wrapped(signature(node))}\n```\n']
    if ast.get_docstring(node):
        text.append(markdown(ast.get_docstring(node)) + '\n')
    if isinstance(node, ast.ClassDef):
        for method in methods(node):
            text.append(f'`{signature(method)}`\n\n{textwrap.indent(markdown(ast.get_docstring(method)), "> ")}\n')
    return '\n'.join(text)


def wrapped(words):
    return '\n'.join(textwrap.wrap(words, 118, subsequent_indent=' ' * (words.find('(') + 1), break_long_words=False))


def reference():
    """The text of docs/api.md."""
    parts = ['# API reference\n\n```python\nimport paddle_mobile_backbones as ic\n\n'
             "model = ic.create_model('mobileformer_26m', num_classes=10)\n```\n\n"
             'Written by `python tools/maintenance/api_reference.py` from the docstrings.\n']
    for module, names in CHOSEN.items():
        full = f'{PACKAGE}.{module}'.rstrip('.')
        about = ast.get_docstring(tree_of(module)) or ''
        parts.append(f'## {full}\n\n{markdown(about.split(chr(10) * 2)[0])}\n')
        parts += [entry(module, name) for name in names or exported(module)]
    return '\n'.join(parts)


def main(argv=None):
    write_atomically(TARGET, lambda temporary: temporary.write_text(reference(), encoding='utf-8'))


if __name__ == '__main__':
    main()
