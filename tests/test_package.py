"""`import image_classification as ic`: each public name comes when it is first used."""
import importlib
import sys

import pytest

import image_classification as ic


def test_every_public_name_is_there():
    names = {}
    exec('from image_classification import *', names)
    assert set(ic.__all__) == {*names} - {'__builtins__'} and set(ic.__all__) <= set(dir(ic))
    assert {'create_model', 'list_models', 'list_pretrained', 'get_config', 'load_weights', 'fuse', 'UserError'} <= set(names)
    assert all(callable(getattr(ic, name)) for name in ic.__all__)


def test_rooms_are_attributes_too():
    assert callable(ic.weights.from_torch) and callable(ic.deploy.Predictor)


def test_an_unknown_name_is_no_attribute():
    with pytest.raises(AttributeError, match="no attribute 'creat_model'"):
        ic.creat_model
    with pytest.raises(ImportError, match='creat_model'):
        from image_classification import creat_model  # noqa: F401


@pytest.mark.parametrize('first', ['image_classification.fuse', 'image_classification'])
def test_fuse_is_the_function_whatever_has_imported_its_module(first, monkeypatch):
    """The module has the same name, and Python puts a module that it imports into its package."""
    monkeypatch.setattr(ic, 'fuse', None)
    monkeypatch.delattr(ic, 'fuse')
    monkeypatch.delitem(sys.modules, 'image_classification.fuse')
    getattr(importlib.import_module(first), 'fuse')
    module = importlib.import_module('image_classification.fuse')
    from image_classification import fuse
    assert ic.fuse is fuse is module.fuse and callable(fuse)
