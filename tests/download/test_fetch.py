"""Files from the network, against a server on this machine."""
import hashlib
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import pytest

from image_classification.download import cache_directory, cached_path, fetch, reachable
from image_classification.download.addresses import mirrored
from image_classification.download.connection import Redirects
from image_classification.errors import UserError
from tests.download_server import DATA, answer, ranges, stalls, status, whole

OTHER = DATA[::-1]
SHA = hashlib.sha256(DATA).hexdigest()
ROOT = Path(__file__).resolve().parents[2]
QUICK = {'timeout': 0.3, 'delay': 0.01}
# Another process, without the package's __init__: importing Paddle takes seconds.
PROGRAM = f'''
import sys, types
package = sys.modules['image_classification'] = types.ModuleType('image_classification')
package.__path__ = [{str(ROOT / "image_classification")!r}]
from image_classification.download import fetch
print(fetch(sys.argv[1]))
'''


def asked_ranges(server):
    return [headers.get('Range') for _, headers in server.asked]


def failure(url, *args, **options):
    """The message with which fetching fails."""
    with pytest.raises(UserError) as caught:
        fetch(url, *args, **options)
    return str(caught.value)


def interrupted(url, size=1000, **options):
    """Leave a part of `size` bytes behind, as a broken download does."""
    assert f'the {size} bytes that came are kept' in failure(url, attempts=1, **options)


# The cache

def test_a_file_is_fetched_once_and_nothing_else_stays(server, url, tmp_path):
    path = fetch(url)
    assert path.read_bytes() == DATA and path.name == 'net.pth' and tmp_path / 'cache' in path.parents
    assert fetch(url) == path and len(server.asked) == 1
    assert sorted(file.name for file in path.parent.iterdir()) == ['net.pth', 'net.pth.lock']


def test_files_of_one_name_from_two_folders_do_not_collide(server):
    server.replies = [whole(), whole(OTHER)]
    one, two = fetch(f'{server.url}/a/model.safetensors'), fetch(f'{server.url}/b/model.safetensors')
    assert one.name == two.name == 'model.safetensors' and one.read_bytes() == DATA and two.read_bytes() == OTHER


@pytest.mark.parametrize('one, two', [('http://a/x?id=1', 'http://a/x?id=2'), ('http://a/x', 'http://b/x'),
                                      ('http://a:1/x', 'http://a:2/x')])
def test_query_host_and_port_tell_files_apart(one, two):
    assert cached_path(one) != cached_path(two)
    assert cached_path(one, 'x') != cached_path(two, 'x')
    assert cached_path('http://a/d/1', 'x.pth') != cached_path('http://a/d/2', 'x.pth')


@pytest.mark.parametrize('last, name', [('net%20a%2Fb.pth', 'net_a_b.pth'), ('.hidden.pth', 'hidden.pth'),
                                        ('ü.pth?download=true', '_.pth'), ('n' * 300 + '.pth', 'n' * 116 + '.pth')])
def test_names_are_made_plain(last, name):
    assert cached_path(f'https://host/{last}').name == name


@pytest.mark.parametrize('last', ['', '..', '?id=3'])
def test_an_address_without_a_name_needs_one(last):
    assert 'ends without the name of a file' in failure(f'https://host/folder/{last}')
    assert cached_path(f'https://host/folder/{last}', 'net.pth').name == 'net.pth'


def test_variables_move_the_cache(monkeypatch, tmp_path):
    monkeypatch.delenv('PADDLE_MOBILE_BACKBONES_HOME', raising=False)
    monkeypatch.setenv('HOME', str(tmp_path))
    monkeypatch.delenv('XDG_CACHE_HOME', raising=False)
    assert cache_directory() == tmp_path / '.cache/paddle_mobile_backbones'
    monkeypatch.setenv('XDG_CACHE_HOME', 'relative')
    assert cache_directory() == tmp_path / '.cache/paddle_mobile_backbones'
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'xdg'))
    assert cache_directory() == tmp_path / 'xdg/paddle_mobile_backbones'
    monkeypatch.setenv('PADDLE_MOBILE_BACKBONES_HOME', '~/own')
    assert cache_directory() == tmp_path / 'own'


@pytest.mark.parametrize('address', ['ftp://host/f', 'file:///etc/passwd', 'net.pth', 'http:///f', 'http://host:port/f',
                                     'http://[/f'])
def test_other_addresses_than_http_are_errors(address):
    assert 'is no address to fetch from; wanted http://' in failure(address)


def test_a_password_in_the_address_is_an_error_that_does_not_show_it():
    message = failure('https://me:secret@host/net.pth')
    assert 'the address of host holds a user name' in message and 'secret' not in message


@pytest.mark.parametrize('name', ['a/b', '..', '.x', 'a\\b'])
def test_a_name_that_is_a_path_is_an_error(name):
    assert 'cannot be the name of a file in the cache' in failure('https://host/net.pth', name=name)


def test_a_file_put_there_by_hand_is_taken_after_a_look_at_its_digest(server, url):
    path = cached_path(url)
    path.parent.mkdir(parents=True)
    path.write_bytes(DATA)
    assert fetch(url, SHA) == path
    path.write_bytes(OTHER)
    assert f'its sha256 is {hashlib.sha256(OTHER).hexdigest()}, wanted {SHA}. Delete it' in failure(url, SHA)
    assert fetch(url) == path and path.read_bytes() == OTHER and not server.asked


def test_a_cached_file_is_hashed_again_only_if_it_changed_or_on_demand(url):
    path = fetch(url, SHA)
    stat = path.stat()
    path.write_bytes(OTHER)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))        # of the same size and time: nothing tells
    assert fetch(url, SHA) == path
    assert 'is not the file of' in failure(url, SHA, rehash=True)


@pytest.fixture
def locked():
    """A folder that this process cannot write to, even if root runs the tests."""
    folder = Path(tempfile.mkdtemp())                              # tmp_path lies in a folder that only its owner enters
    folder.chmod(0o555)
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    yield folder
    if root:
        os.seteuid(0)
    folder.chmod(0o755)
    shutil.rmtree(folder)


def test_a_cache_that_cannot_be_written_is_an_error_that_names_the_way_out(server, url, locked, monkeypatch):
    monkeypatch.setenv('PADDLE_MOBILE_BACKBONES_HOME', str(locked / 'cache'))
    message = failure(url)
    assert f'{locked}/cache cannot be written or read: Permission denied' in message
    assert 'set PADDLE_MOBILE_BACKBONES_HOME to another folder' in message and not server.asked


def test_a_full_disk_is_an_error_and_keeps_what_came(server, url):
    server.replies = [ranges()]
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        assert 'cannot be written or read: File too large. Make room' in failure(url)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert fetch(url, SHA).read_bytes() == DATA
    assert asked_ranges(server) == [None, 'bytes=100000-']


# Digests

@pytest.mark.parametrize('digest', [{'sha256': SHA}, {'sha256': SHA[:8]}, {'sha256': SHA[:8].upper()},
                                    {'md5': hashlib.md5(DATA).hexdigest()}])
def test_the_digest_may_be_whole_a_prefix_or_md5(url, digest):
    assert fetch(url, **digest).read_bytes() == DATA


@pytest.mark.parametrize('digest', [{'sha256': 'f' * 8}, {'sha256': '0' * 64}, {'md5': '0' * 32}])
def test_a_wrong_digest_is_an_error_with_both_and_leaves_no_file(server, url, digest):
    kind, wanted = next(iter(digest.items()))
    found = hashlib.new(kind, DATA).hexdigest()
    message = failure(url, **digest)
    assert f'another file, now deleted: its {kind} is {found}, wanted {wanted}' in message
    assert url in message and str(cached_path(url)) in message
    assert [file.name for file in cached_path(url).parent.iterdir()] == ['net.pth.lock'] and len(server.asked) == 1


@pytest.mark.parametrize('digest', [{'sha256': '1234567'}, {'sha256': 'g' * 8}, {'sha256': '0' * 65}, {'md5': '0' * 8}])
def test_a_digest_that_is_none_is_an_error(url, digest):
    assert 'hexadecimal digits' in failure(url, **digest)


# Going on

def test_a_broken_download_goes_on_where_it_stopped(server, url):
    server.replies = [ranges(send=1000), ranges(send=5000), ranges()]
    assert fetch(url, SHA, **QUICK).read_bytes() == DATA
    assert asked_ranges(server) == [None, 'bytes=1000-', 'bytes=5000-']
    assert server.asked[1][1]['If-Range'] == '"1"'


def test_a_later_call_goes_on_too(server, url):
    server.replies = [ranges(send=1000), ranges()]
    interrupted(url)
    assert fetch(url).read_bytes() == DATA and asked_ranges(server) == [None, 'bytes=1000-']


@pytest.mark.parametrize('obeys', [True, False], ids=['If-Range obeyed', 'If-Range ignored'])
def test_a_file_that_has_changed_is_not_glued_to_the_old_beginning(server, url, obeys):
    server.replies = [ranges(send=1000), ranges(OTHER, '"2"', obeys_if_range=obeys)]
    interrupted(url)
    assert fetch(url, **QUICK).read_bytes() == OTHER


def test_a_server_without_range_starts_over(server, url):
    server.replies = [ranges(send=1000), whole()]
    interrupted(url)
    assert fetch(url).read_bytes() == DATA and asked_ranges(server) == [None, 'bytes=1000-']


@pytest.mark.parametrize('etag', [None, 'W/"1"'])
def test_without_etag_date_and_digest_it_starts_over(server, url, etag):
    server.replies = [ranges(etag=etag, send=1000), ranges(etag=etag)]
    interrupted(url)
    assert fetch(url).read_bytes() == DATA and asked_ranges(server) == [None, None]


def test_with_a_date_or_a_digest_only_it_goes_on(server, url):
    date = 'Wed, 21 Oct 2015 07:28:00 GMT'
    server.replies = [whole(send=1000, Last_Modified=date), ranges(etag=date), ranges(etag=None, send=1000), ranges(etag=None)]
    interrupted(url)
    fetch(url)
    assert server.asked[1][1]['If-Range'] == date
    interrupted(f'{url}2', sha256=SHA)
    fetch(f'{url}2', SHA)
    assert asked_ranges(server) == [None, 'bytes=1000-', None, 'bytes=1000-']


def test_a_damaged_beginning_costs_a_second_download_but_no_error(server, url):
    server.replies = [ranges(OTHER, None, send=1000), ranges(etag=None)]
    interrupted(url, sha256=SHA)
    assert fetch(url, SHA, **QUICK).read_bytes() == DATA and asked_ranges(server) == [None, 'bytes=1000-', None]


def test_a_file_that_became_shorter_is_fetched_anew(server, url):
    server.replies = [ranges(send=1000), ranges(DATA[:600], obeys_if_range=False)]
    interrupted(url)
    assert fetch(url, **QUICK).read_bytes() == DATA[:600] and asked_ranges(server) == [None, 'bytes=1000-', None]


# Failures of the network

def test_a_stall_ends_the_connection_and_the_rest_is_asked_for(server, url, capsys):
    server.replies = [stalls(server, 2000), ranges()]
    assert fetch(url, SHA, **QUICK).read_bytes() == DATA and asked_ranges(server) == [None, 'bytes=2000-']
    assert 'net.pth: nothing came for 0.3 s; trying again in 0.01 s' in capsys.readouterr().err


def test_the_time_out_can_be_set_for_all(server, url, monkeypatch):
    server.replies = [stalls(server, 0)]
    monkeypatch.setenv('PADDLE_MOBILE_BACKBONES_TIMEOUT', '0.1')
    assert 'nothing came for 0.1 s, 2 times in a row' in failure(url, attempts=2, delay=0)
    monkeypatch.setenv('PADDLE_MOBILE_BACKBONES_TIMEOUT', 'soon')
    assert "TIMEOUT is 'soon'; wanted a number of seconds above 0" in failure(url)


def test_a_file_that_ends_too_early_is_an_error_after_some_attempts(server, url):
    server.replies = [whole(send=1000)]
    assert 'ended after 1000 of 1048576 bytes, 3 times in a row' in failure(url, attempts=3, **QUICK)
    assert len(server.asked) == 3 and not cached_path(url).exists()


def test_attempts_with_progress_do_not_count(server, url):
    server.replies = [*(ranges(send=1000 * i) for i in range(1, 9)), ranges()]
    assert fetch(url, attempts=2, **QUICK).read_bytes() == DATA


@pytest.mark.parametrize('code', [408, 429, 500, 502, 503])
def test_a_server_in_trouble_is_asked_again(server, url, code):
    server.replies = [status(code), status(code), whole()]
    assert fetch(url, **QUICK).read_bytes() == DATA


def test_retry_after_is_obeyed(server, url):
    server.replies = [status(503, Retry_After=1), whole()]
    start = time.monotonic()
    fetch(url, **QUICK)
    assert time.monotonic() - start > 0.9


@pytest.mark.parametrize('code', [401, 403, 404, 410])
def test_a_refusal_is_final_and_the_message_names_address_and_path(server, url, code):
    server.replies = [status(code)]
    message = failure(url)
    assert message.startswith(f'{url} could not be fetched: the server answers {code}') and len(server.asked) == 1
    assert message.endswith(f'Fetch {url} by other means and put it at {cached_path(url)}')


def test_a_server_that_hangs_up_is_asked_again(server, url):
    server.replies = [lambda handler: handler.connection.close(), whole()]
    assert fetch(url, **QUICK).read_bytes() == DATA


def test_no_server_is_an_error(server, url):
    server.shutdown()
    server.server_close()
    assert 'the connection failed (Connection refused), 2 times in a row' in failure(url, attempts=2, **QUICK)


def test_a_reply_in_chunks_is_complete_only_with_its_end(server, url):
    def chunks(*parts):
        return lambda handler: answer(handler, 200, {'Transfer-Encoding': 'chunked'},
                                      b''.join(b'%x\r\n%b\r\n' % (len(part), part) for part in parts))
    server.replies = [chunks(DATA), chunks(DATA, b'')]
    assert fetch(url, **QUICK).read_bytes() == DATA and len(server.asked) == 2


def test_a_web_page_instead_of_the_file_is_an_error(server, url):
    server.replies = [whole(b'<html>please log in</html>', Content_Type='text/html; charset=utf-8')]
    assert 'the server sends a web page' in failure(url)
    assert fetch(f'{server.url}/page.html').read_bytes().startswith(b'<html>')


# Redirects

@pytest.mark.parametrize('code', [301, 302, 303, 307, 308])
def test_redirects_are_followed_and_keep_the_range(server, url, code):
    redirect = status(code, Location='/else where/net.pth')
    server.replies = [redirect, ranges(send=1000), redirect, ranges()]
    interrupted(url)
    assert fetch(url).read_bytes() == DATA
    assert asked_ranges(server) == [None, None, 'bytes=1000-', 'bytes=1000-']
    assert [path for path, _ in server.asked] == ['/models/net.pth', '/else%20where/net.pth'] * 2


def test_redirects_in_a_circle_are_an_error(server, url):
    server.replies = [status(302, Location='/models/net.pth')]
    assert 'redirects in circles' in failure(url) and len(server.asked) < 12


@pytest.mark.parametrize('location', ['file:///etc/passwd', 'ftp://127.0.0.1/net.pth', 'data:text/plain,x'])
def test_redirects_elsewhere_than_to_http_are_errors(server, url, location):
    server.replies = [status(302, Location=location)]
    assert 'the server redirects' in failure(url)
    assert len(server.asked) == 1 and not cached_path(url).exists()


def test_redirects_from_https_back_to_http_are_errors():
    request = urllib.request.Request('https://host/net.pth')
    with pytest.raises(Exception, match='redirects to http://host/net.pth, which is not safe'):
        Redirects().redirect_request(request, None, 302, '', {}, 'http://host/net.pth')


# Mirror and offline

def test_a_mirror_is_asked_instead_and_the_cache_stays_the_same(server, monkeypatch):
    address = 'https://example.invalid:8443/a/net.pth?download=true'
    monkeypatch.setenv('PADDLE_MOBILE_BACKBONES_MIRROR', f'{server.url}/x/')
    monkeypatch.setenv('HF_ENDPOINT', 'http://127.0.0.1:1')
    assert fetch(address).read_bytes() == DATA
    assert server.asked[0][0] == '/x/example.invalid:8443/a/net.pth?download=true'
    monkeypatch.delenv('PADDLE_MOBILE_BACKBONES_MIRROR')
    assert fetch(address).read_bytes() == DATA


def test_hf_endpoint_stands_for_hugging_face_only(server, monkeypatch):
    monkeypatch.setenv('HF_ENDPOINT', server.url)
    assert fetch('https://huggingface.co/timm/net/resolve/main/model.safetensors').read_bytes() == DATA
    assert server.asked[0][0] == '/timm/net/resolve/main/model.safetensors'
    assert 'the connection failed' in failure('http://127.0.0.1:1/timm/net', attempts=1)


def test_a_host_can_have_a_mirror_of_its_own(server, monkeypatch):
    monkeypatch.setenv('PADDLE_MOBILE_BACKBONES_MIRROR', 'http://127.0.0.1:1')
    monkeypatch.setenv('HF_ENDPOINT', 'http://127.0.0.1:1')
    monkeypatch.setenv('PADDLE_MOBILE_BACKBONES_MIRROR_PADDLE_HAPI_BJ_BCEBOS_COM', f'{server.url}/hapi/')
    monkeypatch.setenv('PADDLE_MOBILE_BACKBONES_MIRROR_HUGGINGFACE_CO', server.url)
    assert fetch('https://paddle-hapi.bj.bcebos.com/models/net.pdparams').read_bytes() == DATA
    assert fetch('https://huggingface.co/timm/net/resolve/main/model.safetensors').read_bytes() == DATA
    assert [path for path, _ in server.asked] == ['/hapi/models/net.pdparams', '/timm/net/resolve/main/model.safetensors']


@pytest.mark.parametrize('mirror', ['https://www.modelscope.cn/models', 'https://modelscope.cn/models/'])
def test_modelscope_stands_for_hugging_face_under_its_own_branch(mirror, monkeypatch):
    monkeypatch.setenv('PADDLE_MOBILE_BACKBONES_MIRROR_HUGGINGFACE_CO', mirror)
    assert mirrored('https://huggingface.co/timm/net/resolve/main/model.safetensors') == (
        f'{mirror.rstrip("/")}/timm/net/resolve/master/model.safetensors')


def test_a_mirror_that_is_no_address_is_an_error(monkeypatch):
    monkeypatch.setenv('PADDLE_MOBILE_BACKBONES_MIRROR_HUGGINGFACE_CO', 'hf-mirror.com')
    said = failure('https://huggingface.co/a/net.pth')
    assert "variable PADDLE_MOBILE_BACKBONES_MIRROR_HUGGINGFACE_CO: 'hf-mirror.com' is no address to fetch from" in said


def test_of_several_files_it_is_known_which_could_be_had(server, url):
    server.replies = [status(200), status(404)]
    fetched = cached_path(f'{server.url}/cached/a.pth')
    fetched.parent.mkdir(parents=True)
    fetched.write_bytes(DATA)
    assert reachable([(url, '', False)]) == [True] and asked_ranges(server) == ['bytes=0-0']
    dead = [(f'http://127.0.0.1:1/{i}.pth', '', False) for i in range(3)]
    assert reachable([(url, '', False), *dead, (f'{server.url}/cached/a.pth', '', False)], 0.5) == [False] * 4 + [True]


def test_a_mirror_that_fails_is_named_beside_the_address(server, monkeypatch):
    server.replies = [status(404)]
    monkeypatch.setenv('PADDLE_MOBILE_BACKBONES_MIRROR', server.url)
    assert failure('https://host/net.pth').startswith(
        f'https://host/net.pth could not be fetched: the server answers 404 Not Found at {server.url}/host/net.pth. ')


def test_offline_never_connects(server, url, monkeypatch):
    monkeypatch.setenv('PADDLE_MOBILE_BACKBONES_OFFLINE', '1')
    message = failure(url)
    assert 'OFFLINE forbids' in message and f'Fetch {url} by other means and put it at {cached_path(url)}' in message
    monkeypatch.setenv('PADDLE_MOBILE_BACKBONES_OFFLINE', '0')
    path = fetch(url)
    monkeypatch.setenv('PADDLE_MOBILE_BACKBONES_OFFLINE', 'true')
    assert fetch(url) == path and len(server.asked) == 1


def test_a_page_for_people_is_never_connected_to(server, url):
    path = cached_path(url)
    assert failure(url, manual=True).endswith(f'Open it in a browser and save its file as {path}')
    path.parent.mkdir(parents=True)
    path.write_bytes(DATA)
    assert fetch(url, SHA, manual=True) == path and not server.asked


def test_a_proxy_is_used(server, monkeypatch):
    monkeypatch.setenv('http_proxy', server.url)
    assert fetch('http://example.invalid/net.pth').read_bytes() == DATA
    assert server.asked[0][0] == 'http://example.invalid/net.pth'


# Several processes

def start(url):
    return subprocess.Popen([sys.executable, '-c', PROGRAM, url], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def line_with(text, stream):
    """Wait until a line of the stream holds the text."""
    assert any(text in line for line in stream), f'{text!r} was never said'


def test_of_two_processes_one_fetches_and_the_other_waits(server, url):
    half = len(DATA) // 2

    def slow(handler):
        answer(handler, 200, {'Content-Length': len(DATA)}, DATA[:half])
        server.go.wait()
        handler.wfile.write(DATA[half:])
    server.replies = [slow]
    first = start(url)
    line_with('fetching', first.stderr)
    second = start(url)
    line_with('waiting for another process that fetches net.pth', second.stderr)
    server.go.set()
    for process in (first, second):
        out, err = process.communicate(timeout=10)
        assert process.returncode == 0 and Path(out.strip()).read_bytes() == DATA, err
    assert len(server.asked) == 1


def test_after_a_kill_in_mid_download_the_next_process_asks_for_the_rest(server, url):
    server.replies = [stalls(server, 3000), ranges()]
    part = cached_path(url).with_name('net.pth.part')
    process = start(url)
    deadline = time.monotonic() + 10
    while not (part.exists() and part.stat().st_size == 3000):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=10)
    assert not cached_path(url).exists()
    assert fetch(url).read_bytes() == DATA and asked_ranges(server) == [None, 'bytes=3000-']


def test_a_kill_between_the_last_byte_and_the_name_costs_no_request(server, url):
    server.replies = [ranges(send=1000)]
    interrupted(url)
    cached_path(url).with_name('net.pth.part').write_bytes(DATA)
    assert fetch(url, SHA).read_bytes() == DATA and len(server.asked) == 1
