"""`import paddle_mobile_backbones as ic`: the same modules by a name that nobody else has, whatever has become of the other."""
import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import image_classification as ic
import paddle_mobile_backbones as second

PROJECT = Path(__file__).resolve().parents[1]
OURS = (PROJECT / 'image_classification/__init__.py').read_text(encoding='utf-8')


def test_both_names_give_the_same_modules():
    import image_classification.weights.catalogue
    import paddle_mobile_backbones.weights.catalogue
    from paddle_mobile_backbones.deploy.engines import open_engine
    assert paddle_mobile_backbones.weights.catalogue is image_classification.weights.catalogue
    assert sys.modules['paddle_mobile_backbones.deploy'] is ic.deploy and open_engine is ic.deploy.engines.open_engine
    assert ic.weights.catalogue.__spec__.name == 'image_classification.weights.catalogue' == ic.weights.catalogue.__name__


def test_public_names_are_there_too():
    names = {}
    exec('from paddle_mobile_backbones import *', names)
    assert {*names} - {'__builtins__'} == set(ic.__all__) == set(second.__all__)
    assert all(names[name] is getattr(ic, name) is getattr(second, name) for name in ic.__all__)
    assert second.__version__ == ic.__version__ and set(ic.__all__) <= set(dir(second))


def test_fuse_stays_the_function():
    import paddle_mobile_backbones.fuse
    assert paddle_mobile_backbones.fuse is ic.fuse and callable(ic.fuse)


@pytest.mark.parametrize('get', [lambda: second.no_such_name, lambda: __import__('paddle_mobile_backbones.no_such_module')])
def test_what_is_not_there_is_not_there_by_this_name(get):
    with pytest.raises((AttributeError, ModuleNotFoundError), match='no_such'):
        get()


def test_modules_that_are_programs_run_by_this_name(monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', ['-m'])
    with pytest.raises(SystemExit):
        runpy.run_module('paddle_mobile_backbones.integrations', run_name='__main__', alter_sys=True)
    assert "the toolkit is ''; wanted paddleseg or paddledetection" in capsys.readouterr().err


@pytest.fixture
def site(tmp_path):
    """A directory as pip makes it of a wheel, with what importing a UserError takes."""
    place = tmp_path / 'site'
    package = place / 'image_classification'
    for room in ('installation', 'names'):
        shutil.copytree(PROJECT / 'image_classification' / room, package / room)
    for file in ('errors.py', '__init__.py'):
        shutil.copy(PROJECT / 'image_classification' / file, package)
    shutil.copytree(PROJECT / 'paddle_mobile_backbones', place / 'paddle_mobile_backbones')
    shutil.copy(package / '__init__.py', place / 'paddle_mobile_backbones/first_init.py')
    return place


SAME = ('import paddle_mobile_backbones as p; import image_classification as ic; assert p.UserError is ic.UserError; '
        'print(ic.__version__)')


def run(site, code=SAME, before=(), cwd=None):
    path = os.pathsep.join(map(str, [*before, site]))
    done = subprocess.run([sys.executable, '-c', code], cwd=cwd or site.parent, env={**os.environ, 'PYTHONPATH': path},
                          capture_output=True, text=True)
    return done.stdout.strip(), ' '.join(done.stderr.split())


def test_where_all_is_well_nothing_is_said(site):
    assert run(site) == (ic.__version__, '')
    assert run(site, 'from image_classification.errors import UserError; print(1)') == ('1', '')


@pytest.mark.parametrize('text', ['', 'import torch_of_2019', "__version__ = '0.1.0'  # of others"])
def test_an_init_that_others_have_written_over_is_named_and_replaced_in_memory(site, text):
    init = site / 'image_classification/__init__.py'
    init.write_text(text)
    out, err = run(site)
    assert out == ic.__version__ and f'{init} is not of paddle-mobile-backbones: another distribution, such as ' in err
    assert ('pip uninstall image-classification && pip install --force-reinstall --no-deps paddle-mobile-backbones. `import '
            'paddle_mobile_backbones as ic` works all the same') in err
    assert init.read_text() == text                                # a file of others is theirs


@pytest.mark.parametrize('code', [SAME, 'import image_classification as old; ' + SAME,
                                  'from image_classification.errors import UserError; ' + SAME])
def test_an_init_that_others_have_removed_is_named_and_replaced_in_memory(site, code):
    (site / 'image_classification/__init__.py').unlink()
    out, err = run(site, code)
    assert out == ic.__version__ and '__init__.py is missing: the removal of another distribution, such as image-clas' in err
    assert 'Repair it by: pip install --force-reinstall --no-deps paddle-mobile-backbones' in err


def test_the_repair_names_the_wheel_that_pip_was_given(site, tmp_path):
    (site / 'image_classification/__init__.py').unlink()
    wheel, info = tmp_path / 'my wheels/paddle_mobile_backbones.whl', site / 'paddle_mobile_backbones-0.1.0.dist-info'
    wheel.parent.mkdir()
    wheel.touch()
    info.mkdir()
    (info / 'METADATA').write_text('Metadata-Version: 2.1\nName: paddle-mobile-backbones\nVersion: 0.1.0\n')
    (info / 'direct_url.json').write_text(f'{{"archive_info": {{}}, "url": "{wheel.as_uri()}"}}')
    assert f"Repair it by: pip install --force-reinstall --no-deps '{wheel}'. `import" in run(site)[1]
    wheel.unlink()                                                 # it is gone: an index may have it
    assert 'Repair it by: pip install --force-reinstall --no-deps paddle-mobile-backbones. `import' in run(site)[1]


def test_a_folder_in_the_working_directory_is_named(site, tmp_path):
    (tmp_path / 'image_classification').mkdir()
    assert run(site) == (ic.__version__, '')                       # one of pictures hides nothing
    (tmp_path / 'image_classification/__init__.py').write_text('')
    out, err = run(site)
    assert out == ic.__version__ and f'the folder {tmp_path / "image_classification"} in the working directory hides ' in err
    assert 'Rename that folder, or start Python elsewhere' in err


def test_a_package_of_that_name_elsewhere_is_named(site, tmp_path):
    other = tmp_path / 'other/image_classification/__init__.py'
    other.parent.mkdir(parents=True)
    other.write_text('')
    out, err = run(site, before=[other.parents[1]])
    assert out == ic.__version__ and f'{other.parent} hides the package image_classification of paddle-mobile-backb' in err
    out, err = run(site, 'import image_classification; import paddle_mobile_backbones', before=[other.parents[1]])
    assert 'ImportError: ' in err and f'{other} is imported already, as image_classification, and is not of ' in err
