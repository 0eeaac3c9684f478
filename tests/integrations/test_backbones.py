"""Backbones in the registries of PaddleSeg and PaddleDetection, of which here are small stand-ins that register as theirs do.

Against the toolkits themselves: docs/backbones.md has the commands.
"""
import importlib
import inspect
import sys
import types
from collections import namedtuple

import paddle
import pytest

import image_classification as ic
from image_classification.integrations.__main__ import main
from image_classification.weights import to_torch, write_safetensors

NAME = 'mobilenet_v1_x0_25'


class Components(dict):
    """PaddleSeg's: classes by their names; `build` is what its builder does with a backbone's yaml."""

    def add_component(self, component):
        assert inspect.isclass(component)
        self[component.__name__] = component
        return component

    def build(self, type, **keywords):
        return self[type](**keywords)


class Workspace(dict):
    """PaddleDetection's: the module's attribute of the class's name, made with what the yaml says below that name."""

    def register(self, cls):
        assert cls.__name__ not in self
        self[cls.__name__] = cls.__module__
        return cls

    def create(self, name, **keywords):
        return getattr(importlib.import_module(self[name]), name)(**keywords)


def modules(monkeypatch, toolkit, **contents):
    """Put modules of these contents into the place of a toolkit's; the integration, freshly imported."""
    for name, content in contents.items():
        parts = name.split('__')
        for end in range(1, len(parts) + 1):
            path = '.'.join(parts[:end])
            monkeypatch.setitem(sys.modules, path, sys.modules.get(path, types.ModuleType(path)))
        vars(sys.modules['.'.join(parts)]).update(content)
    name = f'image_classification.integrations.{toolkit}'
    monkeypatch.delitem(sys.modules, name, raising=False)
    module = importlib.import_module(name)
    monkeypatch.setitem(sys.modules, name, module)                 # which is taken away again
    return module


@pytest.fixture
def seg(monkeypatch):
    components = Components()
    modules(monkeypatch, 'paddleseg', paddleseg__cvlibs={'manager': types.SimpleNamespace(BACKBONES=components)})
    return components


ShapeSpec = namedtuple('ShapeSpec', 'channels height width stride', defaults=(None,) * 4)


@pytest.fixture
def det(monkeypatch):
    workspace = Workspace()
    modules(monkeypatch, 'paddledetection', ppdet__core__workspace={'register': workspace.register},
            ppdet__modeling__shape_spec={'ShapeSpec': ShapeSpec})
    return workspace


def test_every_network_is_there_by_its_name(seg, det):
    assert seg.keys() == det.keys() == {*ic.list_models(), 'MobileBackbone'}


def test_a_segmenter_gets_maps_and_their_channels(seg):
    backbone = seg.build(type=NAME, in_chans=4).eval()
    maps = backbone(paddle.randn([1, 4, 64, 64]))
    assert [m.shape[1] for m in maps] == backbone.feat_channels == [32, 64, 128, 256]
    assert [m.shape[2] for m in maps] == [16, 8, 4, 2]


def test_a_detector_gets_maps_of_its_images_and_their_shapes(det):
    backbone = det.create(NAME, out_strides=[16, 32], frozen_stages=1, norm_eval=True).eval()
    maps = backbone({'image': paddle.randn([1, 3, 64, 64])})
    assert backbone.out_shape == [ShapeSpec(128, stride=16), ShapeSpec(256, stride=32)]
    assert [m.shape[2] for m in maps] == [4, 2]
    assert backbone.features.network.blocks[1].parameters()[0].stop_gradient


@pytest.fixture(scope='module')
def weights(tmp_path_factory):
    path, model = tmp_path_factory.mktemp('weights') / 'a.safetensors', ic.create_model(NAME)
    write_safetensors(path, to_torch(model), {})
    return str(path), model


def test_pretrained_weights_are_loaded_by_keyword(seg, det, weights):
    path, model = weights
    for backbone in (seg.build(type='MobileBackbone', model=NAME, pretrained=path), det.create(NAME, pretrained=path)):
        found = backbone.features.network.conv_stem.weight
        assert (found == model.conv_stem.weight).all()


@pytest.mark.parametrize('keywords, words', [
    ({'drop_rat': 0.1}, "no keyword 'drop_rat'"), ({'out_strides': [3]}, 'out_strides is'),
    ({'pretrained': 'none.pdparams'}, 'no weights at none.pdparams')])
def test_what_a_yaml_has_wrong_is_said(seg, keywords, words):
    with pytest.raises(ic.UserError, match=words):
        seg.build(type=NAME, **keywords)


@pytest.mark.parametrize('toolkit, package', [('paddleseg', 'paddleseg'), ('paddledetection', 'ppdet')])
def test_a_toolkit_that_is_not_there_is_named(monkeypatch, toolkit, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ic.UserError, match='cannot be imported .*; wanted its clone on PYTHONPATH'):
        modules(monkeypatch, toolkit)


def test_a_script_of_the_toolkit_knows_the_backbones(seg, tmp_path, monkeypatch, capsys):
    (tmp_path / 'train.py').write_text('import sys\nfrom paddleseg.cvlibs import manager\n'
                                       f'print(sys.argv[1:], {NAME!r} in manager.BACKBONES)\n')
    monkeypatch.setattr(sys, 'argv', [])
    monkeypatch.setattr(sys, 'path', list(sys.path))
    main(['paddleseg', str(tmp_path / 'train.py'), '--config', 'a.yml'])
    assert capsys.readouterr().out == "['--config', 'a.yml'] True\n"


@pytest.mark.parametrize('arguments, words', [([], "the toolkit is ''; wanted paddleseg or paddledetection"),
                                              (['paddleseg', 'no.py'], "the script is 'no.py', which is no file")])
def test_other_command_lines_are_answered_in_one_line(arguments, words, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 1 and words in capsys.readouterr().err
    main(['--help'])
    assert 'paddleseg tools/train.py --config my.yml' in capsys.readouterr().out
