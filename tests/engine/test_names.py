"""Names of files are bytes: a class folder that is no UTF-8 goes the whole way, on a stream that is strict."""
import io
import os
import shutil
import sys

import pytest

from image_classification.checkpoint import read_checkpoint
from image_classification.deploy.export_directory import ExportDirectory
from image_classification.engine import launch
from image_classification.engine.run_log import RunLog
from tests.engine.test_trainer import train

ODD = b'\xd6\xd0\xce\xc4'                                          # of a zip file from a Chinese Windows


@pytest.fixture
def folder(colours, tmp_path):
    """`colours` with a class that is no UTF-8, and a damaged picture in it."""
    shutil.copytree(colours, tmp_path / 'data')
    for part in ('train', 'val'):
        os.rename(tmp_path / 'data' / part / 'bläu', os.path.join(os.fsencode(tmp_path), b'data', part.encode(), ODD))
    (tmp_path / 'data' / 'train' / os.fsdecode(ODD) / 'damaged.png').write_bytes(b'no picture')
    return tmp_path / 'data'


def test_a_class_folder_of_any_bytes_is_trained_saved_resumed_and_evaluated(tiny, folder, monkeypatch, tmp_path):
    output = io.TextIOWrapper(io.BytesIO(), 'ascii', 'strict', write_through=True)
    monkeypatch.setattr(sys, 'stdout', output)
    stream = output.buffer
    options = {'DATA__DATA_PATH': str(folder), 'TRAIN__MAX_STEPS': 3, 'PER_CLASS': True, 'DATA__MAX_BAD_IMAGES': 3,
               'DATA__BATCH_SIZE': 8}
    directory = train(tiny(**options))
    assert [os.fsencode(name) for name in read_checkpoint(directory / 'last.safetensors').class_names] == [b'red, warm', ODD]
    assert b'damaged.png' in stream.getvalue() and stream.getvalue().isascii()
    assert b'skipped: ' in (directory / 'log.txt').read_bytes() and ODD in (directory / 'per_class.csv').read_bytes()
    train(tiny(**{**options, 'RESUME': str(directory), 'TRAIN__MAX_STEPS': 4}))
    launch.single(['-eval', '-pretrained', str(directory / 'best.safetensors'), '-data_path', str(folder), '-output',
                   str(tmp_path / 'evaluation'), '-per_class'])
    evaluated, = (tmp_path / 'evaluation').iterdir()
    assert b'\n' + ODD + b',5,' in (evaluated / 'per_class.csv').read_bytes() and ODD in stream.getvalue()


def test_an_export_and_json_lines_hold_the_same_names(tmp_path):
    names = [os.fsdecode(ODD), '猫', 'a: "b"']
    ExportDirectory(tmp_path).write({'class_names': names})
    assert ExportDirectory(tmp_path).read()['class_names'] == names
    RunLog(tmp_path).append('bad_batches.jsonl', {'files': names})
    assert (tmp_path / 'bad_batches.jsonl').read_text(encoding='utf-8') == \
        '{"files": ["\\udcd6\\udcd0\\udcce\\udcc4", "\\u732b", "a: \\"b\\""]}\n'
