"""What a visitor on the network can ask of the page, over HTTP."""
import http.client
import json
import os
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from PIL import Image

from tests.deploy.serving.conftest import until
from tests.deploy.serving.test_server import bomb

from .conftest import encoded, picture

ROOT = Path(__file__).resolve().parents[2]
SECRET = 'what no visitor may read'
NONE = 'no second network'                                        # as the page says


@pytest.fixture(scope='module')
def secret(page):
    """The path of a file outside the page's folder, to which a link within the folder leads."""
    path = page.place / 'secret.png'
    path.write_text(SECRET)
    (page.folder / 'link').mkdir()
    (page.folder / 'link' / 'image.png').symlink_to(path)
    return path


def known(page, data=None):
    """What the page sends of an uploaded picture."""
    status, text = page.upload(data or picture())
    assert status == 200, text
    return {'path': json.loads(text)[0], 'meta': {'_type': 'gradio.FileData'}}


def test_a_picture_gets_classes_latency_and_a_heat_map(page):
    _, message = page.answer([known(page), page.labels[0], page.labels[1], True])
    left, right = message['output']['data'][:4], message['output']['data'][4:]
    assert left[1]['value']['label'] == 'red, warm' and left[1]['value']['confidences'][0]['confidence'] > 0.5
    assert 'ms** for the network' in left[2] and len(right[1]['value']['confidences']) == 5
    for heat in left[3], right[3]:
        status, headers, _ = page.ask('GET', '/gradio_api/file=' + heat['value']['path'])
        assert (status, headers['content-type']) == (200, 'image/png')


def test_visitors_at_the_same_time_get_their_own_answers(page):
    def best(colour):
        _, message = page.answer([known(page, picture(colour)), page.labels[0], NONE, False])
        return message['output']['data'][1]['value']['label']

    colours = [0, 2, 2, 0, 2, 0, 0, 2] * 2
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(best, colours)) == [{0: 'red, warm', 2: 'bläu'}[colour] for colour in colours]


def test_more_visitors_than_can_wait_are_told_so(page):
    sent = known(page)
    slow = [sent, page.labels[1], page.labels[1], True]
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda number: page.join(slow, session_hash=f's{number}'), range(60)))
    assert {status for status, _ in answers} == {200, 503}
    until(lambda: page.join([sent, page.labels[0], NONE, False], session_hash='later')[0] == 200)
    assert 'process_completed' in page.ask('GET', '/gradio_api/queue/data?session_hash=later')[2]      # the last in the queue


def test_an_uploaded_picture_comes_back_as_a_picture(page):
    path = known(page, picture(kind='JPEG'))['path']
    status, headers, _ = page.ask('GET', f'/gradio_api/file={path}')
    assert (status, headers['content-type'], headers['x-content-type-options']) == (200, 'image/jpeg', 'nosniff')


@pytest.mark.parametrize('form', [
    '/gradio_api/file={}', '/file={}', '/gradio_api/file=/{}', '/gradio_api/file/{}', '/file/{}', '/assets/{}',
    '/gradio_api/file=/pictures/{}', '/gradio_api/file=/pictures/../../../../../../../../../../../..{}',
    '/gradio_api/file=/pictures/..%2f..%2f..%2f..%2f..{}',
    '/gradio_api/file=/pictures/%252e%252e/%252e%252e/{}', '/assets/../../../../../../../../../../..{}',
    '/static/..%2f..%2f..%2f..%2f..%2f..%2f..%2f..%2f..{}', '/static//{}', '//{}', '/gradio_api/proxy=file://{}',
    '/gradio_api/proxy=http://127.0.0.1{}', '/gradio_api/file=http://127.0.0.1{}', '/gradio_api/file=file://{}',
    '/gradio_api/custom_component/x/client/component/..{}', '/svelte/..{}', '/gradio_api/stream/a/b/c/..{}',
    '/gradio_api/file=/pictures/%00{}', '/gradio_api/file=/pictures/..\\..\\..{}', '/gradio_api/deep_link?deep_link={}'])
def test_no_file_outside_the_folder_is_readable(page, secret, form):
    for path in str(secret), '/etc/passwd', str(ROOT / 'setup.py'):
        status, _, text = page.ask('GET', form.format(path))
        assert status >= 400 and SECRET not in text and 'root:' not in text and 'find_packages' not in text


def test_a_link_within_the_folder_does_not_lead_out_of_it(page, secret):
    assert page.ask('GET', '/gradio_api/file=/pictures/link/image.png')[0] == 404
    assert page.join([{'path': '/pictures/link/image.png'}, page.labels[0], page.labels[0], True])[0] == 404


def test_nobody_can_name_the_folder_by_its_real_path(page):
    path = known(page)['path']
    real = page.folder / path.removeprefix('/pictures/')
    assert real.is_file() and page.ask('GET', f'/gradio_api/file={real}')[0] == 404
    assert page.join([{'path': str(real)}, page.labels[0], page.labels[0], True])[0] == 404


@pytest.mark.parametrize('value, status', [
    ({'path': '/etc/passwd'}, 404), ({'path': '/etc/passwd', 'meta': {'_type': 'gradio.FileData'}}, 404),
    ({'path': '/pictures/../../etc/passwd', 'meta': {'_type': 'gradio.FileData'}}, 404), ({'path': 7}, 404),
    ({'path': 'http://127.0.0.1:9/a.png', 'meta': {'_type': 'gradio.FileData'}}, 404),
    ({'url': 'http://127.0.0.1:9/a.png'}, 400), ([{'path': '/etc/passwd'}], 400), ({'path': '/pictures/' + 'a' * 5000}, 404)])
def test_an_event_names_uploaded_pictures_only(page, value, status):
    assert page.join([value, page.labels[0], page.labels[0], True])[0] == status


def test_an_address_beside_an_uploaded_picture_is_not_fetched(page):
    with socket.create_server(('127.0.0.1', 0)) as trap:
        trap.settimeout(0.5)
        url = f'http://127.0.0.1:{trap.getsockname()[1]}/a.png'
        page.answer([{**known(page), 'url': url, 'orig_name': url}, page.labels[0], page.labels[0], False])
        with pytest.raises(TimeoutError):
            trap.accept()


@pytest.mark.parametrize('query', ['deep_link=../../../../etc', 'page=x', 'view=y', 'a=%00'])
def test_a_query_changes_nothing(page, query):
    for path in '/', '/config':
        assert page.ask('GET', f'{path}?{query}')[::2] == page.ask('GET', path)[::2]


@pytest.mark.parametrize('method, path', [
    ('GET', '/gradio_api/run/predict'), ('POST', '/gradio_api/run/predict'), ('POST', '/gradio_api/call/predict'),
    ('POST', '/gradio_api/component_server'), ('GET', '/monitoring'), ('GET', '/gradio_api/mcp/'), ('GET', '/docs'),
    ('GET', '/openapi.json'), ('GET', '/gradio_api/openapi.json'), ('GET', '/gradio_api/runs'), ('PUT', '/gradio_api/upload'),
    ('POST', '/gradio_api/process_recording'), ('POST', '/gradio_api/vibe-edit'), ('GET', '/gradio_api/app_id'),
    ('POST', '/'), ('DELETE', '/config'), ('OPTIONS', '/gradio_api/queue/join'), ('GET', '/gradio_api/dev/reload')])
def test_what_the_page_does_not_need_is_not_there(page, method, path):
    status, headers, _ = page.ask(method, path)
    assert status == 404 and "default-src 'self'" in headers['content-security-policy']


@pytest.mark.parametrize('data, status, words', [
    (bytes(2 << 20), 413, 'larger than 1 MiB'), (bomb(), 413, 'too large'),
    (encoded(Image.new('L', (2000, 1501))), 413, '2000 x 1501'), (b'', 400, 'no image'), (b'no picture', 400, 'no image'),
    (b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>', 400, 'no image'),
    (b'<html><script>alert(1)</script>', 400, 'no image'), (b'%!PS-Adobe-3.0 EPSF-3.0\n', 400, 'no image'),
    (picture()[:300], 400, 'cannot be read')],
    ids=['bytes', 'bomb', 'pixels', 'nothing', 'text', 'svg', 'html', 'postscript', 'truncated'])
def test_only_pictures_within_the_limits_are_kept(page, data, status, words):
    before = sorted(page.folder.iterdir())
    answered, text = page.upload(data)
    assert answered == status and words in text
    assert sorted(page.folder.iterdir()) == before


def test_two_files_at_once_and_broken_forms_are_refused(page):
    assert page.upload(picture(), picture())[0] == 400 and page.upload()[0] == 400
    for kind in 'multipart/form-data', 'multipart/form-data; boundary=Y':
        assert page.ask('POST', '/gradio_api/upload', b'--X\r\n', {'Content-Type': kind})[0] == 400


@pytest.mark.parametrize('body, status', [
    (b'', 400), (b'[]', 400), (b'{}', 400), (b'{"data": 1}', 400), (b'[' * 60_000, 400),
    (b'\xff', 400), (b'"' + b'a' * 70_000, 413)])
def test_events_that_the_page_does_not_send_are_refused(page, body, status):
    assert page.ask('POST', '/gradio_api/queue/join', body, {'Content-Type': 'application/json'})[0] == status


def test_unknown_networks_and_pictures_that_were_deleted_are_said(page):
    _, message = page.answer([known(page), 'another', page.labels[0], True])
    assert message['output']['error'] == 'there is no such network'
    sent = known(page)
    (page.folder / sent['path'].removeprefix('/pictures/')).unlink()
    status, text = page.join([sent, page.labels[0], page.labels[0], True])
    assert status == 404 and 'not here any more; choose it again' in text


def test_no_answer_holds_a_path_of_the_server(page, checkpoint):
    sent = known(page)
    answers = [page.ask('GET', path) for path in (
        '/', '/config', '/gradio_api/info', '/theme.css', '/manifest.json', '/gradio_api/startup-events', '/nowhere',
        '/gradio_api/file=nothing', '/assets/nothing.js', '/static/nothing.js')]
    texts = [f'{headers}{text}' for _, headers, text in answers]
    texts += [page.upload(data)[1] for data in (picture(), b'none', bomb())]
    texts += [page.answer([sent, *labels, True])[0] for labels in (page.labels[:2], page.labels[1:3], ['none', 'none'])]
    texts += [page.answer([sent, page.labels[0]], fn_index=1, event_data={'index': 0, 'value': 'no class', '_data': []})[0]]
    texts += [page.answer([sent], fn_index=index)[0] for index in (0, 1)]          # too few values
    home = os.path.expanduser('~')
    for path in {str(page.place), str(page.folder), str(ROOT), str(checkpoint.parent), sys.prefix, os.path.dirname(os.__file__),
                 home if len(home) > 1 else str(page.place)}:
        assert not [text[:300] for text in texts if path in text]


def test_the_page_tells_no_other_host_of_itself(page):
    """Neither a report, nor a look for a newer version, nor fonts; a browser's side of it is in test_page.py."""
    page.answer([known(page), page.labels[0], page.labels[2], True])
    asked = set(page.log.read_text().split()) if page.log.exists() else set()
    assert asked <= {'127.0.0.1', 'localhost', '::1', 'None'}
    assert 'fonts.g' not in page.ask('GET', '/')[2] + page.ask('GET', '/theme.css')[2]


def test_a_client_that_goes_away_in_an_upload_leaves_nothing(page):
    before = sorted(page.folder.iterdir())
    host = page.address.removeprefix('http://')
    connection = http.client.HTTPConnection(host, timeout=60)
    connection.putrequest('POST', '/gradio_api/upload')
    connection.putheader('Content-Type', 'multipart/form-data; boundary=X')
    connection.putheader('Content-Length', '5000')
    connection.endheaders(b'--X\r\n')
    connection.close()
    assert page.upload(picture())[0] == 200 and len(set(page.folder.iterdir()) - set(before)) == 1
