"""The notebooks run from top to bottom, offline, in a copy of the repository as someone has uploaded it. The first one does so
in every run of the tests, all of them in half an hour: python -m pytest -m slow tests/test_notebooks.py"""
import contextlib
import copy
import importlib.util
import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import matplotlib
import nbformat
import pytest
from nbclient import NotebookClient
from safetensors.numpy import save_file

import image_classification as ic

PROJECT = Path(__file__).resolve().parents[1]
NOTEBOOKS = {path.stem: nbformat.read(path, as_version=4) for path in sorted((PROJECT / 'notebooks').glob('*.ipynb'))}


def code_of(name):
    return [cell for cell in NOTEBOOKS[name].cells if cell.cell_type == 'code']


@pytest.fixture
def uploaded(tmp_path):
    """A folder that holds a copy of the repository, without what git ignores."""
    repository = tmp_path / 'a copy'
    for folder in ('configs', 'image_classification', 'notebooks', 'paddle_mobile_backbones', 'tools'):
        shutil.copytree(PROJECT / folder, repository / folder)
    return tmp_path


@pytest.fixture
def execute(uploaded, monkeypatch):
    """execute(notebook): its text output, by the id of the cell, and the number of pictures. Raises where a cell does."""
    for variable in ('IPYTHONDIR', 'JUPYTER_RUNTIME_DIR', 'JUPYTER_DATA_DIR', 'MPLCONFIGDIR'):
        monkeypatch.setenv(variable, str(uploaded / variable.lower()))
    (uploaded / 'mplconfigdir').mkdir()
    for fonts in Path(matplotlib.get_cachedir()).glob('fontlist-*.json'):   # to look for them all takes seconds
        shutil.copy(fonts, uploaded / 'mplconfigdir')
    monkeypatch.delenv('MPLBACKEND', raising=False)                # the notebook's own draws into the notebook
    monkeypatch.setenv('PADDLE_MOBILE_BACKBONES_OFFLINE', '1')
    monkeypatch.setenv('PIP_NO_INDEX', '1')

    def run(notebook, folder='a copy/notebooks'):
        place = {'metadata': {'path': str(uploaded / folder)}}
        notebook = copy.deepcopy(notebook)
        NotebookClient(notebook, timeout=600, kernel_name='python3', resources=place).execute()
        cells = [cell for cell in notebook.cells if cell.cell_type == 'code']
        texts = {cell.id: ''.join(output.get('text', '') for output in cell.outputs) for cell in cells}
        return texts, sum('image/png' in output.get('data', {}) for cell in cells for output in cell.outputs)
    return run


def numbers(pattern, text):
    return [float(number) for number in re.findall(pattern, text)]


def changed(name, *replacements):
    """The notebook with other words in its cells."""
    notebook = copy.deepcopy(NOTEBOOKS[name])
    for old, new in replacements:
        assert any(old in cell.source for cell in notebook.cells), old
        for cell in notebook.cells:
            cell.source = cell.source.replace(old, new)
    return notebook


def test_first_steps_runs_with_weights_that_someone_has_brought(execute, uploaded):
    """With two of the networks and a few steps of training; test_the_network_of_first_steps_knows_digits has all of it."""
    weights = uploaded / 'weights.safetensors'
    network = ic.create_model('mobilenet_v3_small_x1_0')
    save_file({name: value.numpy() for name, value in network.state_dict().items()}, weights)
    texts, pictures = execute(changed('first_steps', ("WEIGHTS = ''", f'WEIGHTS = {str(weights)!r}'),
                                      (", 'mobilenet_v3_small_x0_5', 'mobileformer_26m', 'efficientvit_m0'", ''),
                                      ('DATA: {DATASET', 'EXPORT: False\nPROCESSES: 1\nDATA: {DATASET'),
                                      ('NUM_EPOCHS: 3', 'NUM_EPOCHS: 1, MAX_STEPS: 12')), folder='.')
    assert numbers(r': ([\d.]+)% of 1000', texts['predict'])
    assert pictures == 4 + 1                                       # that of the weights: the bars of the five best classes


@pytest.mark.slow
def test_train_on_your_own_folder_runs(execute):
    """With less training than a reader's; test_fine_tuning_helps has all of it."""
    texts, pictures = execute(changed('train_on_your_own_folder', ('-epochs 15', '-epochs 1'), ('-epochs 3', '-epochs 1'),
                                      ('TRAIN.HFLIP 0.0', 'TRAIN.HFLIP 0.0 TRAIN.MAX_STEPS 20')))
    assert 'keep their fresh weights' in texts['tune-run'] and 'most often taken for' in texts['tune-run']
    assert pictures == 6


@pytest.mark.slow
def test_mobileformer_block_by_block_runs_and_each_block_is_its_formula(execute):
    """With ten steps of training; test_mobileformer_learns has all of it. Its cells compare, and raise."""
    texts, pictures = execute(changed('mobileformer_block_by_block', ('EXPORT False', 'EXPORT False TRAIN.MAX_STEPS 10')))
    assert texts['relu-check'] == 'the layer is the formula\n'
    assert pictures == 12


@pytest.mark.slow
def test_the_network_of_first_steps_knows_digits(execute):
    """python -m pytest -m slow tests/test_notebooks.py"""
    texts, _ = execute(NOTEBOOKS['first_steps'])
    assert numbers(r': ([\d.]+)% of 1000', texts['predict'])[0] > 80


@pytest.mark.slow
def test_fine_tuning_helps(execute):
    """python -m pytest -m slow tests/test_notebooks.py"""
    texts, _ = execute(NOTEBOOKS['train_on_your_own_folder'])
    scratch, tuned = (numbers(r'top-1 +([\d.]+) % on 240', texts[cell])[-1] for cell in ('scratch', 'tune-run'))
    assert tuned > 80 and tuned > scratch + 15


@pytest.mark.slow
def test_mobileformer_learns(execute):
    """python -m pytest -m slow tests/test_notebooks.py"""
    texts, _ = execute(NOTEBOOKS['mobileformer_block_by_block'])
    assert numbers(r'top-1 +([\d.]+) % on 1000', texts['train'])[-1] > 70


@pytest.mark.parametrize('name', NOTEBOOKS)
def test_a_notebook_is_kept_without_what_a_run_adds(name):
    nbformat.validate(NOTEBOOKS[name])
    for cell in code_of(name):
        assert cell.outputs == [] and cell.execution_count is None and cell.metadata == {}


@pytest.mark.parametrize('name', NOTEBOOKS)
def test_every_file_that_a_notebook_names_exists(name):
    text = '\n'.join(cell.source for cell in NOTEBOOKS[name].cells)
    links = re.findall(r'\]\((\w+\.ipynb)\)', text)
    named = re.findall(r'\b((?:image_classification|tools|configs)/[\w/]+\.(?:py|yaml)|README\.md)\b', text)
    assert links and named
    assert [file for file in [*(f'notebooks/{link}' for link in links), *named] if not (PROJECT / file).is_file()] == []


@pytest.mark.parametrize('name', NOTEBOOKS)
def test_no_command_of_a_notebook_starts_processes_that_load_images(name):
    commands = [cell.source for cell in code_of(name) if '_gpu.py' in cell.source]
    assert commands and all('main_single_gpu.py' in command and '-num_workers 0' in command for command in commands)


INSTALL_CELLS = {code_of(name)[0].source for name in NOTEBOOKS}


@pytest.mark.parametrize('folder', ['home/repository', 'home/repository/notebooks', 'home'])
def test_one_cell_installs_whether_the_notebook_runs_in_the_repository_or_above_it(folder, tmp_path, monkeypatch, capsys):
    install_cell, = INSTALL_CELLS
    script = tmp_path / 'home/repository/notebooks/install.py'
    script.parent.mkdir(parents=True)
    script.write_text('print("found", __name__)')
    monkeypatch.chdir(tmp_path / folder)
    exec(install_cell, {})
    assert capsys.readouterr().out == 'found __main__\n'


def test_the_install_cell_says_that_a_notebook_alone_is_not_enough(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AssertionError, match='upload or clone'):
        exec(*INSTALL_CELLS, {})


@pytest.fixture
def installing(monkeypatch, tmp_path):
    """(notebooks/install.py as a module, what it asked pip for). On this machine there is `installed`: {name: version}."""
    spec = importlib.util.spec_from_file_location('install', PROJECT / 'notebooks/install.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.installed = {requirement.split('>')[0]: '99.0' for requirement in module.NEEDED}
    module.installed['paddlepaddle-gpu'] = '3.1.0'
    module.asked = []

    def version(name):
        if name not in module.installed:
            raise module.importlib.metadata.PackageNotFoundError(name)
        return module.installed[name]

    def pip(command, **_):
        module.asked.append(command[command.index('install') + 1:])
        return module.subprocess.CompletedProcess(command, 0, '')

    def builds():
        return [name for name in module.installed if name.startswith('paddle')]

    monkeypatch.setattr(module.importlib.metadata, 'version', version)
    monkeypatch.setattr(module.importlib.metadata, 'packages_distributions', lambda: {'paddle': builds()})
    monkeypatch.setattr(module.importlib.util, 'find_spec', lambda name: builds() or None)
    monkeypatch.setattr(module.subprocess, 'run', pip)
    monkeypatch.setattr(sys, 'path', list(sys.path))
    for variable in ('PATH', 'PYTHONPATH'):
        monkeypatch.setenv(variable, os.environ[variable])
    monkeypatch.chdir(tmp_path)
    return module


def asked_for(module):
    return [word for command in module.asked for word in command if not word.startswith('-')]


def test_nothing_is_installed_twice(installing):
    installing.main()
    installing.main()
    assert installing.asked == [] and Path.cwd() == PROJECT and sys.path[0] == str(PROJECT)


def test_a_paddle_for_gpus_and_its_numpy_stay(installing):
    installing.installed.update({'numpy': '1.26.4', 'mlxtend': '0.20.0'})
    del installing.installed['yacs']
    installing.main()
    assert asked_for(installing) == ['yacs', 'mlxtend>=0.23', 'numpy==1.26.4']


def test_where_there_is_no_paddle_the_one_for_cpus_is_installed(installing):
    del installing.installed['paddlepaddle-gpu']
    installing.main()
    assert asked_for(installing)[0] == 'paddlepaddle<3.4,>=3.1'


@pytest.mark.parametrize('version, fits', [('2.6.2', False), ('3.1.0rc1', False), ('3.1.0.post118', True), ('0.0.0', True)])
def test_a_paddle_that_is_too_old_is_named_and_left_alone(installing, version, fits):
    installing.installed['paddlepaddle-gpu'] = version
    with contextlib.nullcontext() if fits else pytest.raises(SystemExit, match=f'paddlepaddle-gpu {version} is installed'):
        installing.main()
    assert installing.asked == []


def test_a_failure_of_pip_is_told(installing, monkeypatch):
    del installing.installed['yacs']
    monkeypatch.setattr(installing.subprocess, 'run',
                        lambda command, **_: installing.subprocess.CompletedProcess(command, 1, 'no route\n'))
    with pytest.raises(SystemExit, match='no route\npip could not install yacs'):
        installing.main()


def test_the_install_script_itself_needs_nothing_but_pip():
    pytest.importorskip('pip')
    code = "import runpy, sys; sys.modules['packaging'] = None; runpy.run_path('notebooks/install.py', run_name='__main__')"
    done = subprocess.run([sys.executable, '-c', code], cwd=PROJECT, capture_output=True, encoding='utf-8')
    assert done.stdout == f'everything is there; working in {PROJECT}\n', done.stderr


def test_the_notebooks_install_what_the_library_needs(installing, monkeypatch):
    found = {}
    monkeypatch.setattr('setuptools.setup', found.update)
    monkeypatch.chdir(PROJECT)
    runpy.run_path('setup.py')
    assert {*found['install_requires'], 'matplotlib', *found['extras_require']['mnist5k']} == set(installing.NEEDED)
    assert [installing.Requirement(paddle) for paddle in found['extras_require']['cpu']] == [installing.PADDLE]
