import csv
import io
import json
import re
import shutil
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
from PIL import Image

from image_classification import create_model
from image_classification.datasets.imagenet_names import imagenet_classes
from image_classification.drawing.contact_sheet import GAP, SIDE
from image_classification.deploy.predictor import Predictor
from image_classification.weights import write_safetensors
from tests.exports import CLASSES, FOR_COMPUTERS
from tests.download_server import status, whole
from tests.tools.conftest import TOOLS, load_tool
from tests.tools.test_export_command import failure


@pytest.fixture(scope='module')
def predict():
    return load_tool('predict')


@pytest.fixture
def call(predict, call_tool):
    return partial(call_tool, predict)


@pytest.fixture
def everywhere(small_exports):
    """The network of `checkpoint`, exported for every engine."""
    pytest.importorskip('paddle2onnx')                             # not there yet for Python 3.13
    return small_exports['float32']


def numbers(files):
    return [int(''.join(filter(str.isdigit, file.rsplit('/')[-1]))) for file in files]


def test_json_from_an_export(exported, pictures, run_tool):
    done = run_tool('predict.py', exported[1], pictures, '--format', 'json', '--top-k', 2)
    assert done.returncode == 0 and done.stderr.startswith('12 images in ') and len(done.stderr.splitlines()) == 1
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
    first, speed, last = err.splitlines()
    assert 'bad.png' in first and speed.startswith('1 image in ')
    assert last == 'error: 1 of 2 images could not be read; see above'


def test_bad_input_gets_one_line(pictures, run_tool, tmp_path):
    line = failure(run_tool('predict.py', tmp_path / 'nowhere', pictures))
    assert 'nowhere does not exist; wanted a checkpoint' in line


@pytest.mark.parametrize('arguments, words', [
    (['--top-k', 0], '--top-k is 0'), (['--batch-size', 0], '--batch-size is 0'), (['--engine', 'inference'], 'does not run'),
    (['--timeout', 0], '--timeout is 0'), (['--max-download-mb', 'nan'], '--max-download-mb is nan'),
    (['--output', 'photo.JPG'], 'has the name of a picture'), (['--font', 'a.ttf'], 'give --contact-sheet, too'),
    (['--contact-sheet', 'sheet.jpg'], 'does not end in .png'), (['--only-wrong'], 'needs --labels-from-folders'),
    (['--labels-from-folders'], 'called like a class')])
def test_bad_flags_get_one_line(call, checkpoint, pictures, arguments, words):
    code, out, err = call(checkpoint, pictures, *arguments)
    assert (code, out) == (1, '') and words in err and len(err.splitlines()) == 1


def test_the_throughput_is_said_at_the_end(call, exported, pictures):
    code, out, err = call(exported[1], pictures, '--batch-size', 5)
    assert code == 0
    speed = r'12 images in \d+\.\d\d s, \d+\.\d images/s \(mobilenet_v1_x0_25, paddle_inference, batches of 5\)\n'
    assert re.fullmatch(speed, err)


@pytest.mark.parametrize('engine', FOR_COMPUTERS)
def test_every_engine_is_chosen_by_a_flag_and_says_the_same(call, everywhere, checkpoint, pictures, engine):
    code, out, err = call(everywhere, pictures, '--engine', engine, '--format', 'json')
    expected = json.loads(call(checkpoint, pictures, '--format', 'json')[1])
    assert code == 0 and f'(mobilenet_v1_x0_25, {engine}, ' in err
    for item, wanted in zip(json.loads(out), expected, strict=True):
        assert item['file'] == wanted['file']
        assert [p['class'] for p in item['predictions']] == [p['class'] for p in wanted['predictions']]
        assert item['predictions'][0]['probability'] == pytest.approx(wanted['predictions'][0]['probability'], abs=1e-4)


def test_a_picture_on_standard_input_a_list_and_frames(run_tool, checkpoint, pictures, tmp_path):
    first = pictures / 'picture 3.png'
    wanted = json.loads(run_tool('predict.py', checkpoint, first, '--format', 'json').stdout)[0]['predictions']
    done = run_tool('predict.py', checkpoint, '-', '--format', 'json', stdin=first.read_bytes())
    assert json.loads(done.stdout) == [{'file': '-', 'predictions': wanted}], done.stderr
    paths = tmp_path / 'list'
    paths.write_text(f'{first}\n\n{first}\n')
    done = run_tool('predict.py', checkpoint, paths, '--list', '--format', 'json')
    for found in json.loads(done.stdout):                          # in a batch of two it may round otherwise
        assert [p['class'] for p in found['predictions']] == [p['class'] for p in wanted], done.stderr
        assert [p['probability'] for p in found['predictions']] == pytest.approx([p['probability'] for p in wanted], abs=1e-4)
    done = run_tool('predict.py', checkpoint, pictures / 'picture %d.png', '--format', 'json')
    assert numbers([item['file'] for item in json.loads(done.stdout)]) == list(range(12)), done.stderr


def test_a_network_by_its_name_says_imagenets_names(call, pictures, tmp_path):
    network = create_model('shufflenet_v2_x0_5')
    write_safetensors(tmp_path / 'w.safetensors', {name: value.numpy() for name, value in network.state_dict().items()}, {})
    code, out, err = call('shufflenet_v2_x0_5', pictures / 'picture 1.png', '--weights', tmp_path / 'w.safetensors', '--format',
                          'json')
    [item] = json.loads(out)
    assert code == 0 and {p['class'] for p in item['predictions']} <= set(imagenet_classes().values())


@pytest.mark.parametrize('arguments, words', [
    (['shufflenet_v2_x0_5', '--weights', 'none'], "has no weights 'none'"), (['mobileformer_26m'], 'nobody publishes ImageNet weights'),
    (['shufflenet_v2_x0_5', '--engine', 'openvino'], 'export it first'), (['blazeface_front'], 'names no classes')])
def test_a_network_by_its_name_needs_weights_and_classes(call, pictures, arguments, words):
    code, out, err = call(*arguments, pictures)
    assert (code, out) == (1, '') and words in err and len(err.splitlines()) == 1


def test_weights_are_for_names_only(call, checkpoint, pictures):
    code, out, err = call(checkpoint, pictures, '--weights', 'official')
    assert code == 1 and '--weights needs a model name' in err


def test_an_address_is_fetched_and_classified_like_the_file(call, server, url, checkpoint, pictures):
    server.replies[:] = [whole((pictures / 'picture 3.png').read_bytes()), status(404)]
    wanted = json.loads(call(checkpoint, pictures / 'picture 3.png', '--format', 'json')[1])[0]['predictions']
    code, out, err = call(checkpoint, url, url, '--format', 'json')
    assert code == 1 and json.loads(out) == [{'file': url, 'predictions': wanted}]
    assert f'{url} could not be read: the server answers 404' in err


def test_a_missing_file_of_a_list_is_named_and_the_others_predicted(call, checkpoint, pictures, tmp_path):
    (tmp_path / 'frames.txt').write_text(f'none.png\n{pictures}/picture 1.png\n')
    code, out, err = call(checkpoint, tmp_path / 'frames.txt', '--format', 'json')
    assert code == 1 and numbers([item['file'] for item in json.loads(out)]) == [1]
    assert 'none.png' in err and '1 of 2 images could not be read' in err


@pytest.mark.parametrize('form, text', [('json', '[\n]\n'), ('csv', 'file,rank,class,probability\n')])
def test_an_empty_list_is_an_error_of_its_own(call, checkpoint, tmp_path, form, text):
    (tmp_path / 'frames.txt').write_text('# nothing yet\n')
    code, out, err = call(checkpoint, tmp_path / 'frames.txt', '--format', form)
    assert (code, out) == (1, text) and 'names no picture' in err


def test_a_picture_is_turned_as_its_exif_orientation_says(call, checkpoint, tmp_path):
    upright = Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8))
    upright.save(tmp_path / 'a.png')
    exif = Image.Exif()
    exif[0x0112] = 6                                               # to be seen, turn by 90 degrees clockwise
    upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / 'b.png', exif=exif)
    code, out, err = call(checkpoint, tmp_path, '--format', 'json', '--contact-sheet', tmp_path / 'sheet.png')
    a, b = json.loads(out)
    assert a['predictions'] == b['predictions']
    sheet = np.asarray(Image.open(tmp_path / 'sheet.png'))
    left, right = (sheet[GAP:GAP + SIDE, x:x + SIDE] for x in (GAP, 2 * GAP + SIDE))
    assert (left == right).all() and left.std() > 20


def test_a_contact_sheet_shows_each_picture_that_could_be_read(call, checkpoint, pictures, tmp_path):
    (tmp_path / 'bad.png').write_bytes(b'no image')
    code, out, err = call(checkpoint, tmp_path, pictures, '--contact-sheet', tmp_path / 'sheet.png')
    assert code == 1 and f'contact sheet: {tmp_path}/sheet.png' in err
    page = Image.open(tmp_path / 'sheet.png')
    assert page.width == GAP + 5 * (SIDE + GAP) and (page.height - GAP) % 3 == 0      # 12 of 13 pictures
    again = call(checkpoint, pictures, '--contact-sheet', tmp_path / 'sheet.png')
    assert again[0] == 1 and 'never overwrites' in again[2]


@pytest.fixture
def labelled(trained, colours, tmp_path):
    """(checkpoint, folder with parts, of which it takes one picture for another class, that picture)"""
    folder = shutil.copytree(colours, tmp_path / 'labelled')
    wrong = folder / 'val' / 'bläu' / 'deep' / 'wrong.png'
    wrong.parent.mkdir()
    (folder / 'val' / 'red, warm' / 'picture 0.png').rename(wrong)
    return trained, folder, wrong


def test_a_labelled_folder_gives_its_accuracy_with_the_count(call, labelled):
    checkpoint, folder, wrong = labelled
    code, out, err = call(checkpoint, folder / 'val', '--labels-from-folders', '--top-k', 1)
    header, *lines, last = out.splitlines()
    assert code == 0 and header.split() == ['file', 'rank', 'class', 'probability', 'label'] and len(lines) == 10
    assert last == 'top-1       90.00 % (9 of 10 images)'
    assert sum(line.endswith('  bläu') for line in lines) == 6     # any depth, and the outermost folder counts


def test_only_what_is_wrong_is_listed_and_shown(call, labelled, tmp_path):
    checkpoint, folder, wrong = labelled
    flags = ['--labels-from-folders', '--only-wrong', '--top-k', 1]
    code, out, err = call(checkpoint, folder, *flags, '--format', 'json', '--contact-sheet', tmp_path / 'sheet.png')
    item, = json.loads(out)
    assert code == 0 and 'top-1       97.06 % (33 of 34 images)' in err
    assert (item['file'], item['label'], item['predictions'][0]['class']) == (str(wrong), 'bläu', 'red, warm')
    assert Image.open(tmp_path / 'sheet.png').width == GAP + SIDE + GAP         # one picture
    code, out, err = call(checkpoint, folder, *flags, '--format', 'csv')
    assert list(csv.reader(io.StringIO(out)))[0][-1] == 'label' and list(csv.reader(io.StringIO(out)))[1][-1] == 'bläu'


def test_nothing_wrong_makes_no_sheet(call, trained, colours, tmp_path):
    code, out, err = call(trained, colours / 'val' / 'bläu', '--labels-from-folders', '--only-wrong', '--contact-sheet',
                          tmp_path / 'sheet.png')
    assert code == 0 and out.splitlines()[1:] == ['top-1       100.00 % (5 of 5 images)'] and list(tmp_path.iterdir()) == []


def test_a_folder_that_is_no_class_is_refused_before_the_work(call, labelled, tmp_path):
    checkpoint, folder, wrong = labelled
    (folder / 'val' / 'bläu').rename(folder / 'val' / 'green')
    code, out, err = call(checkpoint, folder, '--labels-from-folders')
    assert (code, out) == (1, '') and 'found val, green' in err and 'the classes are bläu, red, warm' in err


def test_what_a_folder_has_beside_its_pictures_is_said_and_labels_are_those_of_evaluation(call, trained, colours, tmp_path):
    folder = shutil.copytree(colours / 'val', tmp_path / 'data')
    spread = folder / 'bla\u0308u'                                 # as a Mac writes it
    (folder / 'bläu').rename(spread)
    (spread / 'raw.nef').write_bytes(b'x')
    (spread / '@eaDir').mkdir()
    shutil.copy(spread / 'picture 0.png', spread / '@eaDir')
    (folder / 'red, warm' / 'up').symlink_to('..')
    code, out, err = call(trained, folder, '--labels-from-folders', '--top-k', 1)
    assert code == 0 and out.splitlines()[-1] == 'top-1       100.00 % (10 of 10 images)'
    assert '1 picture is of a kind that is not read here: 1 .nef' in err and 'up leads to' in err


@pytest.mark.parametrize('count, shown', [(50, False), (51, True)])
def test_a_progress_bar_comes_with_more_than_50(call, predict, checkpoint, pictures, tmp_path, monkeypatch, count, shown):
    asked, original = [], predict.progress_bar

    def progress_bar(*arguments, enabled):
        asked.append(enabled)
        return original(*arguments, enabled=enabled)
    monkeypatch.setattr(predict, 'progress_bar', progress_bar)
    (tmp_path / 'frames.txt').write_text(f'{pictures}/picture 1.png\n' * count)
    code, out, err = call(checkpoint, tmp_path / 'frames.txt', '--format', 'csv', '--top-k', 1)
    assert code == 0 and len(out.splitlines()) == count + 1 and asked == [shown]


def test_lines_come_at_once_for_batches_of_one_and_a_reader_who_has_seen_enough_ends_it_quietly(checkpoint, pictures):
    command = [sys.executable, TOOLS / 'predict.py', checkpoint, '-', '--list', '--batch-size', '1', '--format', 'csv',
               '--top-k', '1']
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        for i in range(3):
            process.stdin.write(f'{pictures}/picture {i}.png\n'.encode())
            process.stdin.flush()
            line = process.stdout.readline() if i else process.stdout.readline() and process.stdout.readline()
            assert f'picture {i}.png,1,' in line.decode()
        process.stdout.close()
        process.stdin.write(f'{pictures}/picture 1.png\n'.encode())
        process.stdin.close()
        assert process.stderr.read() == b'' and process.wait() == 141


# Runs a tool, then says how many MiB the process took at most.
MEASURE = '''
import atexit, os, resource, runpy, sys
atexit.register(lambda: print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, file=sys.stderr))
del sys.argv[0]
sys.path[0] = os.path.dirname(sys.argv[0])
runpy.run_path(sys.argv[0], run_name='__main__')
'''


def peak_memory(trained, colours, folder, count):
    """MiB that a process takes to classify so many pictures and to put them on contact sheets."""
    pictures = sorted(map(str, (colours / 'train').rglob('*.png')))
    (folder / f'{count}.txt').write_text('\n'.join(pictures[i % len(pictures)] for i in range(count)), encoding='utf-8')
    command = [sys.executable, '-c', MEASURE, TOOLS / 'predict.py', trained, folder / f'{count}.txt', '--format', 'csv',
               '--output', folder / f'{count}.csv', '--contact-sheet', folder / f'{count}.png']
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0 and done.stderr.startswith(f'{count} images in '), done.stderr
    return int(done.stderr.split()[-1])


@pytest.mark.slow
@pytest.mark.parametrize('count', [600, 10_000])
def test_memory_does_not_grow_with_the_number_of_pictures(trained, colours, tmp_path, count):
    """All 10,000: python -m pytest -m slow tests/tools/test_predict_command.py"""
    less, more = (peak_memory(trained, colours, tmp_path, number) for number in (200, count))
    assert more < less + 24
    assert len(list(tmp_path.glob(f'{count}*.png'))) == -(-count // 64)
