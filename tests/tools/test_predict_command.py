import csv
import io
import json
import shutil
from functools import partial

import pytest

from image_classification.deploy.predictor import Predictor
from image_classification.errors import UserError
from tests.deploy.conftest import CLASSES
from tests.tools.conftest import load_tool
from tests.tools.test_export_command import failure


@pytest.fixture(scope='module')
def predict():
    return load_tool('predict')


@pytest.fixture
def call(predict, call_tool):
    return partial(call_tool, predict)


def numbers(files):
    return [int(''.join(filter(str.isdigit, file.rsplit('/')[-1]))) for file in files]


def test_json_from_an_export_run_as_a_program(exported, pictures, run_tool):
    done = run_tool('predict.py', exported[1], pictures, '--format', 'json', '--top-k', 2)
    assert (done.returncode, done.stderr) == (0, '')
    content = json.loads(done.stdout)
    assert numbers([item['file'] for item in content]) == list(range(12))
    predictor = Predictor(exported[1])
    for item, probabilities in zip(content, predictor.predict(item['file'] for item in content)):
        assert [p['class'] for p in item['predictions']] == [name for name, _ in predictor.top_k(probabilities, 2)]
        assert item['predictions'][0]['probability'] == pytest.approx(probabilities.max(), abs=1e-5)


def test_csv_of_a_checkpoint_quotes_names_rightly(call, checkpoint, pictures):
    code, out, err = call(checkpoint, pictures / 'picture 3.png', '--format', 'csv')
    rows = list(csv.reader(io.StringIO(out)))
    assert code == 0 and rows[0] == ['file', 'rank', 'class', 'probability']
    assert [row[1] for row in rows[1:]] == ['1', '2', '3', '4', '5'] and {row[2] for row in rows[1:]} == set(CLASSES)
    assert sum(float(row[3]) for row in rows[1:]) == pytest.approx(1, abs=1e-4)


def test_the_tables_columns_stand_below_each_other(call, predict, checkpoint, pictures):
    code, out, err = call(checkpoint, pictures / 'picture 3.png', pictures / 'picture 10.png')
    header, *lines = out.splitlines()
    assert header.split() == ['file', 'rank', 'class', 'probability'] and len(lines) == 10
    ends = {predict._width(line.rsplit(maxsplit=1)[0].rstrip()) <= header.index('probability') - 2 for line in lines}
    assert ends == {True} and {predict._width(line) for line in lines} == {header.index('probability') + 6}


def test_top_k_is_cut_to_the_number_of_classes(call, checkpoint, pictures):
    assert len(call(checkpoint, pictures / 'picture 3.png', '--top-k', 99)[1].splitlines()) == 6


def test_output_goes_whole_into_a_file(call, checkpoint, pictures, tmp_path):
    target = tmp_path / 'result.json'
    target.write_text('old')
    code, out, err = call(checkpoint, pictures, '--format', 'json', '--output', target)
    assert (code, out) == (0, '') and len(json.loads(target.read_text(encoding='utf-8'))) == 12
    assert [path.name for path in tmp_path.iterdir()] == ['result.json']


def test_an_output_that_cannot_be_written_is_named(call, checkpoint, pictures, tmp_path):
    code, out, err = call(checkpoint, pictures / 'picture 3.png', '--output', tmp_path / 'none' / 'result.json')
    assert code == 1 and 'cannot write' in err and 'none/result.json' in err


def test_unreadable_images_are_named_and_the_others_predicted(call, checkpoint, pictures, tmp_path):
    (tmp_path / 'bad.png').write_bytes(b'no image')
    shutil.copy(pictures / 'picture 3.png', tmp_path)
    code, out, err = call(checkpoint, tmp_path, '--format', 'json')
    assert code == 1 and [item['file'][-13:] for item in json.loads(out)] == ['picture 3.png']
    assert 'bad.png' in err.splitlines()[0] and '1 of 2 images could not be read' in err.splitlines()[1]


def test_files_folders_and_patterns_are_found_once_in_natural_order(predict, pictures, tmp_path):
    (tmp_path / 'deep' / 'er').mkdir(parents=True)
    for name in ('a10.JPG', 'a9.jpg', 'deep/er/b.png', 'notes.txt', '.hidden.png', 'x[1].png'):
        (tmp_path / name).write_bytes(b'')
    found = predict.find_images([str(tmp_path), str(tmp_path / '*.jpg'), str(tmp_path / 'deep' / '..' / 'a9.jpg'),
                                 str(tmp_path / 'x[1].png'), str(tmp_path / 'notes.txt')])
    assert [file[len(str(tmp_path)) + 1:] for file in found] == ['a9.jpg', 'a10.JPG', 'deep/er/b.png', 'notes.txt', 'x[1].png']
    assert numbers(predict.find_images([f'{pictures}/picture*'])) == list(range(12))
    assert [file[-5:] for file in predict.find_images([f'{tmp_path}/**/*.png'])] == ['b.png', '].png']


@pytest.mark.parametrize('name', ['missing.png', '*.missing', ''])
def test_a_name_that_matches_nothing_is_named(predict, tmp_path, name):
    (tmp_path / 'empty').mkdir()
    with pytest.raises(UserError, match='is no file and no folder, and matches no image'):
        predict.find_images([name and str(tmp_path / name)])
    with pytest.raises(UserError, match='empty has no images in it'):
        predict.find_images([str(tmp_path / 'empty')])


def test_bad_input_gets_one_line_as_a_program(pictures, run_tool, tmp_path):
    line = failure(run_tool('predict.py', tmp_path / 'nowhere', pictures))
    assert 'nowhere does not exist; wanted a checkpoint' in line


@pytest.mark.parametrize('arguments, words', [
    (['--top-k', 0], '--top-k is 0'), (['--batch-size', 0], 'batch size is 0'), (['--engine', 'inference'], 'does not run')])
def test_bad_flags_get_one_line(call, checkpoint, pictures, arguments, words):
    code, out, err = call(checkpoint, pictures, *arguments)
    assert (code, out) == (1, '') and words in err and len(err.splitlines()) == 1
