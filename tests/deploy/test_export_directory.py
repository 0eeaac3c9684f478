from pathlib import Path

import pytest
import yaml

from image_classification.datasets import Preprocess
from image_classification.deploy.export_directory import ExportDirectory
from image_classification.errors import UserError

WRITTEN_BEFORE = Path(__file__).parents[1] / 'data' / 'written_before' / 'run' / 'export'
GOOD = {'name': 'net', 'preprocessing': Preprocess(32, 1.0, 'bilinear', [0.5], [0.5]).to_dict(), 'class_names': ['数字'],
        'output': {'kind': 'logits', 'num_classes': 1, 'names': ['a', 'b']}}


def test_what_is_written_is_read_and_readable(tmp_path):
    directory = ExportDirectory(tmp_path)
    directory.write({'name': 'x', 'class_names': ['数字', 'b'], 'shapes': [[-1, 5]]})
    assert directory.read() == directory.read_if_there() == {'name': 'x', 'class_names': ['数字', 'b'], 'shapes': [[-1, 5]]}
    assert (tmp_path / 'inference.yaml').read_text(encoding='utf-8').splitlines()[1] == 'class_names: [数字, b]'


def test_an_engine_runs_without_a_description_but_nobody_reads_it(tmp_path):
    directory = ExportDirectory(tmp_path / 'none')
    assert directory.read_if_there() == {} and directory.input() == {'dtype': 'float32', 'layout': 'NCHW'}
    with pytest.raises(UserError, match='none has no inference.yaml; wanted the directory of an export'):
        directory.read()
    with pytest.raises(UserError, match='has no inference.onnx; wanted an export by tools/export.py --format onnx'):
        directory.onnx()


def test_the_size_is_that_of_an_engines_files(tmp_path):
    for name, size in (('inference.json', 3), ('inference.pdiparams', 5), ('inference.onnx', 7), ('inference.yaml', 11)):
        (tmp_path / name).write_bytes(bytes(size))
    assert [ExportDirectory(tmp_path).size(engine) for engine in ('paddle_inference', 'onnxruntime', 'openvino')] == [8, 7, 0]


def test_a_classifier_says_its_classes(tmp_path):
    directory = ExportDirectory(tmp_path)
    for kind, logits in (('logits', True), ('probabilities', False)):
        directory.write({**GOOD, 'output': {**GOOD['output'], 'kind': kind}})
        found = directory.classes()
        assert (found.name, found.class_names, found.num_classes, found.gives_logits) == ('net', ['数字'], 1, logits)
        assert found.preprocess == Preprocess(32, 1.0, 'bilinear', [0.5], [0.5])


def test_an_export_written_before_is_read():
    found = ExportDirectory(WRITTEN_BEFORE).classes()
    content = yaml.safe_load((WRITTEN_BEFORE / 'inference.yaml').read_text(encoding='utf-8'))
    assert (found.name, found.class_names) == (content['name'], content['class_names']) and found.gives_logits


@pytest.mark.parametrize('content, words', [
    (b'', 'is empty or no mapping'), (b'- 1', 'is empty or no mapping'), (b'{', 'cannot be read as yaml'),
    (b'name: x\nname: y', 'line 2: name is there twice'), (b'[' * 3000, 'more than 20|depth'),
    (b'\xff', 'cannot be read as yaml'), (b'name: x', "lacks or misstates 'preprocessing'; export the model again"),
    ({**GOOD, 'output': {**GOOD['output'], 'kind': 'words'}}, "lacks or misstates 'words'"),
    ({**GOOD, 'output': {**GOOD['output'], 'kind': 'maps'}},
     'is an export of 2 feature maps, which are no classes; .*Run it by image_classification.deploy.engines'),
    ({**GOOD, 'output': {**GOOD['output'], 'kind': 'tensors'}}, 'is an export of 2 tensors of a detector, which are no classes'),
])
def test_another_description_is_refused(tmp_path, content, words):
    content = content if isinstance(content, bytes) else yaml.safe_dump(content).encode()
    (tmp_path / 'inference.yaml').write_bytes(content)
    with pytest.raises(UserError, match=words):
        ExportDirectory(tmp_path).classes()
