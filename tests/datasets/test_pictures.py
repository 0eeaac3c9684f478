"""What the names of pictures on a command line mean."""
import io
import os
import sys
import threading

import pytest
from PIL import Image

from image_classification.datasets.pictures import find_frames, find_images, find_pictures, open_picture
from image_classification.errors import UserError
from tests.download_server import answer, status, whole


@pytest.fixture
def files(tmp_path):
    """files(*names): empty files below tmp_path."""
    def make(*names):
        for name in names:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(b'')
    return make


def names(found, folder):
    return [os.path.relpath(name, folder) for name in found]


def test_files_folders_and_patterns_are_found_once_in_natural_order(files, tmp_path):
    files('a10.JPG', 'a9.jpg', 'deep/er/b.png', 'notes.dat', '.hidden.png', 'x[1].png')
    asked = [str(tmp_path), str(tmp_path / '*.jpg'), str(tmp_path / 'deep' / '..' / 'a9.jpg'), str(tmp_path / 'x[1].png'),
             str(tmp_path / 'notes.dat')]
    for found in (find_images(asked), find_pictures(asked)):
        assert names(found, tmp_path) == ['a9.jpg', 'a10.JPG', 'deep/er/b.png', 'notes.dat', 'x[1].png']
    assert names(find_images([f'{tmp_path}/**/*.png']), tmp_path) == ['deep/er/b.png', 'x[1].png']


@pytest.mark.parametrize('name', ['missing.png', '*.missing', ''])
def test_a_name_that_matches_nothing_is_named(tmp_path, name):
    (tmp_path / 'empty').mkdir()
    with pytest.raises(UserError, match='is no file and no folder, and matches no image'):
        find_pictures([name and str(tmp_path / name)])
    with pytest.raises(UserError, match='empty has no images in it'):
        find_pictures([str(tmp_path / 'empty')])


def test_a_pattern_may_have_a_percent_sign_in_it(files, tmp_path):
    files('100%done.jpg', '100%d.jpg')
    assert names(find_pictures([f'{tmp_path}/100%d*']), tmp_path) == ['100%d.jpg', '100%done.jpg']


def test_frames_come_in_the_order_of_their_numbers_and_some_may_be_missing(files, tmp_path):
    files('f_%d/a_00002.jpg', 'f_%d/a_00010.jpg', 'f_%d/a_123456.jpg', 'f_%d/a_3.jpg', 'f_%d/a_00004.png', 'f_%d/a_x.jpg')
    assert names(find_pictures([f'{tmp_path}/f_%d/a_00002.jpg']), tmp_path) == ['f_%d/a_00002.jpg']  # a file of that name
    os.rename(tmp_path / 'f_%d', tmp_path / 'f[1]')
    found = find_pictures([f'{tmp_path}/f[1]/a_%05d.jpg'])
    assert names(found, tmp_path / 'f[1]') == ['a_00002.jpg', 'a_00010.jpg', 'a_123456.jpg'] and found.total == 3
    assert names(find_frames(f'{tmp_path}/f[1]/a_%d.jpg'), tmp_path) == ['f[1]/a_3.jpg', 'f[1]/a_123456.jpg']


@pytest.mark.parametrize('pattern, words', [('x_%05d.jpg', 'e.g. x_00001.jpg'), ('%d/%d.jpg', 'more than one number')])
def test_a_pattern_without_frames_is_named(tmp_path, pattern, words):
    with pytest.raises(UserError, match=words):
        find_pictures([pattern])


def test_a_list_has_paths_from_here_or_from_its_folder_and_addresses(files, tmp_path, monkeypatch):
    files('here/a.jpg', 'lists/b c.jpg', 'lists/a.jpg')
    lines = '\ufeff# camera 1\na.jpg\r\n\n  b c.jpg \nnone.jpg\nhttp://host/ä.jpg'
    (tmp_path / 'lists' / 'frames.txt').write_bytes(lines.encode())
    monkeypatch.chdir(tmp_path / 'here')
    found = find_pictures(['../lists/frames.txt', 'a.jpg'])
    assert list(found) == ['a.jpg', '../lists/b c.jpg', 'none.jpg', 'http://host/ä.jpg', 'a.jpg'] == list(found)
    assert found.total == 5


def test_the_order_of_names_of_several_kinds_is_kept(files, tmp_path):
    files('2.jpg', '1.jpg')
    one, two = str(tmp_path / '1.jpg'), str(tmp_path / '2.jpg')
    assert list(find_pictures(['-', two, one, 'http://host/a', two])) == ['-', one, two, 'http://host/a', two]


def test_any_file_may_be_called_a_list(tmp_path):
    (tmp_path / 'frames').write_bytes(b'a\xff.jpg\n')               # a name that is no UTF-8
    found = find_pictures([str(tmp_path / 'frames')], are_lists=True)
    assert [os.fsencode(name) for name in found] == [b'a\xff.jpg'] and found.total == 1


@pytest.mark.parametrize('name', ['none.txt', 'folder'])
def test_a_list_that_is_no_file_is_named(tmp_path, name):
    (tmp_path / 'folder').mkdir()
    with pytest.raises(UserError, match=f'{name} is no file; wanted a list'):
        find_pictures([str(tmp_path / name)], are_lists=True)


def test_a_picture_that_is_called_a_list_is_named(tmp_path):
    Image.new('RGB', (4, 4)).save(tmp_path / 'a.png')
    with pytest.raises(UserError, match='a.png is no text; wanted a list'):
        find_pictures([str(tmp_path / 'a.png')], are_lists=True)


def test_a_pipe_is_a_list_that_comes_once(tmp_path):
    os.mkfifo(tmp_path / 'pipe')
    found = find_pictures([str(tmp_path / 'pipe')], are_lists=True)
    writer = threading.Thread(target=(tmp_path / 'pipe').write_text, args=('a.jpg\nb.jpg\n',))
    writer.start()
    assert list(found) == ['a.jpg', 'b.jpg'] and found.total is None
    writer.join()


def test_each_line_of_standard_input_is_given_when_it_comes(monkeypatch, within):
    source, sink = os.pipe()
    with open(source) as stdin, open(sink, 'w') as lines, within(20):
        monkeypatch.setattr(sys, 'stdin', stdin)
        found = iter(find_pictures(['-'], are_lists=True))
        for name in ('a.jpg', 'b.jpg'):
            print(name, file=lines, flush=True)
            assert next(found) == name


def test_standard_input_can_be_read_once():
    with pytest.raises(UserError, match='given 2 times'):
        find_pictures(['-', '-'])


def jpeg(size=(8, 4), orientation=1):
    file = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new('RGB', size, 'red').save(file, 'JPEG', exif=exif)
    return file.getvalue()


def test_an_address_is_read_and_turned_upright(server, url):
    server.replies[:] = [whole(jpeg(orientation=6))]
    image = open_picture(url)
    assert image.size == (4, 8) and image.mode == 'RGB' and server.asked[0][0] == '/models/net.pth'


@pytest.mark.parametrize('reply, words', [
    (whole(b'<html>'), 'is no image that Pillow reads'), (status(404), 'the server answers 404'),
    (whole(bytes(2000)), 'it has more than 0.001 MB'), (whole(jpeg(), send=100), 'the connection ended after 100 of'),
    (status(302, Location='file:///etc/passwd'), 'elsewhere than to http and https'),
    (status(302, Location='ftp://host/a.jpg'), 'not safe to follow'),
    (lambda handler: answer(handler, 200, {}, bytes(2000)), 'it has more than 0.001 MB')])
def test_an_address_that_gives_no_picture_is_named_with_the_reason(server, url, reply, words):
    server.replies[:] = [reply]
    with pytest.raises(UserError, match=words) as found:
        open_picture(url, most_bytes=1000)
    assert url in str(found.value)


def drips(handler):
    """A reply that never ends and never pauses for long."""
    handler.wfile.write(b'HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n')
    while not handler.server.go.wait(0.05):
        handler.wfile.write(b'x')


def drips_headers(handler):
    handler.wfile.write(b'HTTP/1.1 200 OK\r\nX-Long: ')
    while not handler.server.go.wait(0.05):
        handler.wfile.write(b'x')


@pytest.mark.parametrize('reply', [drips, drips_headers])
def test_a_server_that_sends_slowly_for_ever_is_given_up(server, url, reply):
    server.replies[:] = [reply]
    with pytest.raises(UserError, match='did not come within 0.3 s'):
        open_picture(url, seconds=0.3)


@pytest.mark.parametrize('name, words', [('http://', 'is no address'), ('https://user:secret@host/a.jpg', 'user name')])
def test_a_bad_address_is_named_without_its_password(name, words):
    with pytest.raises(UserError, match=words) as found:
        open_picture(name)
    assert 'secret' not in str(found.value)


def test_offline_no_address_is_read(server, url, monkeypatch):
    monkeypatch.setenv('PADDLE_MOBILE_BACKBONES_OFFLINE', '1')
    with pytest.raises(UserError, match='OFFLINE forbids'):
        open_picture(url)
    assert not server.asked
