import io
import socket
import struct
import threading
import zipfile
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image
from prometheus_client.parser import text_string_to_metric_families

from image_classification.deploy.predictor import Predictor
from image_classification.deploy.serving.server import Server
from image_classification.deploy.serving.uploads import Settings
from image_classification.errors import UserError

from .conftest import picture, until


def form(data, name='photo.jpg', field='image', **fields):
    """(body, headers) of a multipart form with a file and fields"""
    parts = [f'--X\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'.encode()
             for key, value in fields.items()]
    parts.append(f'--X\r\nContent-Disposition: form-data; name="{field}"; filename="{name}"\r\n\r\n'.encode() + data + b'\r\n')
    return b''.join(parts) + b'--X--\r\n', {'Content-Type': 'multipart/form-data; boundary=X'}


def best(content):
    return content['predictions'][0]['class']


@pytest.mark.parametrize('kind', ['PNG', 'JPEG', 'WEBP', 'GIF', 'BMP'])
def test_an_image_gets_its_classes_best_first(serve, colours, kind):
    status, content = serve(colours).predict(picture((60, 10, 240), kind))
    assert status == 200 and content['model'] == 'colours'
    assert [p['class'] for p in content['predictions']] == ['blue', 'red', 'green']
    assert sum(p['probability'] for p in content['predictions']) == pytest.approx(1, abs=1e-5)


def test_a_form_gets_what_the_body_alone_gets_and_may_say_top_k(serve, colours):
    client = serve(colours)
    expected = client.predict(picture((0, 255, 1)), query='?top_k=2')
    assert len(expected[1]['predictions']) == 2
    assert client.predict(*form(picture((0, 255, 1)), top_k=2)) == expected
    assert client.predict(*form(picture((0, 255, 1)), field='anything'), query='?top_k=2') == expected


def test_a_real_network_answers_as_its_predictor_does(serve, small_exports, pictures):
    predictor = Predictor(small_exports['paddle'])
    client = serve(predictor)
    files = sorted(pictures.iterdir())
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda file: client.predict(file.read_bytes()), files))
    for (status, content), probabilities in zip(answers, predictor.predict(files)):
        assert status == 200
        wanted = predictor.top_k(probabilities, 5)
        assert [p['class'] for p in content['predictions']] == [name for name, _ in wanted]
        np.testing.assert_allclose([p['probability'] for p in content['predictions']], [p for _, p in wanted], atol=2e-6)


def test_requests_that_come_together_are_one_batch(serve, colours):
    client = serve(colours, max_batch=8)
    colours.open.clear()
    with ThreadPoolExecutor(6) as pool:
        first = pool.submit(client.predict, picture())
        assert colours.entered.wait(60)
        rest = [pool.submit(client.predict, picture((0, 9, 1) if i % 2 else (0, 1, 9))) for i in range(5)]
        until(lambda: client.service._admitted == 6 and len(client.service._batcher) == 5)
        colours.open.set()
        assert best(first.result()[1]) == 'red'
        assert [best(future.result()[1]) for future in rest] == ['blue', 'green', 'blue', 'green', 'blue']
    assert colours.sizes == [1, 5]


def bomb():
    """A PNG of 1 kB that says it has 30,000 x 30,000 pixels."""
    def chunk(kind, data):
        return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))
    head = struct.pack('>IIBBBBB', 30_000, 30_000, 8, 2, 0, 0, 0)
    return b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', head) + chunk(b'IDAT', zlib.compress(b'\0' * 500_000)) + chunk(b'IEND', b'')


def archive():
    file = io.BytesIO()
    with zipfile.ZipFile(file, 'w') as archive:
        archive.writestr('../../evil.png', picture())
    return file.getvalue()


def of_kind(kind):
    file = io.BytesIO()
    Image.new('RGB', (8, 8)).save(file, kind)
    return file.getvalue()


HOSTILE = {
    'nothing': (b'', 400), 'text': (b'hello', 400), 'zip': (archive(), 400), 'bomb': (bomb(), 413),
    'svg': (b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>', 400),
    'truncated jpeg': (picture(kind='JPEG', size=(300, 300))[:400], 400), 'truncated png': (picture()[:50], 400),
    'postscript': (of_kind('EPS'), 400), 'tiff': (of_kind('TIFF'), 400), 'zeros': (bytes(1 << 20), 400),
    'wide': (picture(size=(60_000, 1)), 413),
}


@pytest.mark.parametrize('name', HOSTILE)
def test_what_is_no_safe_image_is_refused_in_one_json_message(serve, colours, name):
    body, expected = HOSTILE[name]
    client = serve(colours, max_pixels=50_000)
    for status, content in (client.predict(body), client.predict(*form(body, '../../etc/passwd'))):
        assert status == expected and list(content) == ['error'], content
        assert 'passwd' not in content['error'] and '/' not in content['error'] and '\n' not in content['error']
    assert client.predict(picture())[0] == 200                     # it goes on


@pytest.mark.parametrize('body, headers', [
    (b'x' * 5000, {}), (iter([b'x' * 500] * 10), {}), (b'x' * 5000, {'Expect': '100-continue'})])
def test_a_body_that_is_too_large_is_refused(serve, colours, body, headers):
    status, content = serve(colours, max_upload_mb=0.002).predict(body, headers)
    assert (status, content) == (413, {'error': 'the body is larger than 0.002 MiB'})


@pytest.mark.parametrize('body, headers, words', [
    (b'a', {'Content-Encoding': 'gzip'}, 'Content-Encoding'),
    (b'a', {'Content-Type': 'multipart/form-data'}, 'boundary'),
    (b'a', {'Content-Type': 'multipart/form-data; boundary=X'}, ''),
    (b'--X\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--X--\r\n', form(b'')[1], 'the form has no file'),
    (form(b'')[0].replace(b'--X--', form(b'')[0]), form(b'')[1], 'Too many files'),
])
def test_a_damaged_form_is_refused(serve, colours, body, headers, words):
    status, content = serve(colours).predict(body, headers)
    assert status in (400, 415) and words in content['error']


@pytest.mark.parametrize('value', ['0', '-1', 'a', '', '1.5', '9' * 5000, '%00'])
def test_a_top_k_that_is_no_number_is_refused(serve, colours, value):
    status, content = serve(colours).predict(picture(), query=f'?top_k={value}')
    assert (status, content) == (400, {'error': 'top_k is no whole number above 0'})


@pytest.mark.parametrize('method, path, status', [
    ('GET', '/predict', 405), ('GET', '/', 404), ('GET', '/../../etc/passwd', 404), ('GET', '/metrics/%2e%2e/x', 404),
    ('DELETE', '/health', 405)])
def test_other_addresses_say_which_there_are(serve, colours, method, path, status):
    found, _, content = serve(colours).ask(method, path)
    assert (found, content) == (status, {'error': 'wanted POST /predict, GET /health or GET /metrics'})


def test_a_fault_of_the_network_tells_the_client_nothing(serve, colours):
    client = serve(colours)
    assert client.predict(picture((0, 0, 0))) == (500, {'error': 'internal error'})
    assert client.predict(picture())[0] == 200


HEAD = b'POST /predict HTTP/1.1\r\nHost: x\r\n'


@pytest.mark.parametrize('data', [
    b'\x16\x03\x01\x02\x00\x01\x00\r\n\r\n', b'GET / HTTP/1.1\r\nHost: x\r\nA: ' + b'x' * 70_000,
    HEAD + b'Content-Length: 1e3\r\n\r\n', HEAD + b'Content-Length: -5\r\n\r\n',
    HEAD + b'Content-Length: 5\r\nContent-Length: 6\r\n\r\n', b'GET /' + b'a' * 70_000])
def test_what_is_not_http_gets_400_and_a_closed_connection(serve, colours, data):
    client = serve(colours)
    assert client.send(data).startswith(b'HTTP/1.1 400') and b'{"error": "Invalid HTTP' in client.send(data)
    assert client.predict(picture())[0] == 200


def test_a_client_that_is_slow_with_its_headers_is_hung_up_on(serve, colours):
    client = serve(colours, timeout=0.2)
    assert client.send(b'') == client.send(b'POST /pre') == client.send(HEAD) == b''
    first, _, rest = client.send(b'GET /health HTTP/1.1\r\nHost: x\r\n\r\nGET /hea').partition(b'\r\n')
    assert first.endswith(b'200 OK') and b'HTTP' not in rest       # the second request never became one


def test_a_client_that_is_slow_with_its_body_gets_408(serve, colours):
    client = serve(colours, timeout=0.2)
    answer = client.send(HEAD + b'Content-Length: 50\r\n\r\nabc')
    assert answer.startswith(b'HTTP/1.1 408') and b'did not arrive within 0.2 s' in answer
    assert client.service.uploads.held == 0


def test_a_client_that_leaves_in_the_middle_harms_nobody(serve, colours):
    client = serve(colours)
    with client.connect() as connection:
        connection.sendall(HEAD + b'Content-Length: 50000\r\n\r\nabc')
        until(lambda: client.service.uploads.held == 3)
    until(lambda: client.service.uploads.held == 0)
    assert client.predict(picture())[0] == 200


def test_above_the_limit_of_connections_new_ones_are_closed(serve, colours):
    client = serve(colours, max_connections=2)
    with client.connect(), client.connect():
        until(lambda: len(client.server._server.server_state.connections) == 2)
        with pytest.raises(OSError):
            client.predict(picture())
    until(lambda: not client.server._server.server_state.connections)
    assert client.predict(picture())[0] == 200


def test_no_part_of_an_answer_waits_for_the_receipt_of_another(serve, colours):
    client = serve(colours)
    with client.connect():
        until(lambda: client.server._server.server_state.connections)
        [connection] = client.server._server.server_state.connections
        assert connection.transport.get_extra_info('socket').getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@pytest.fixture
def busy(serve, colours):
    """busy(**settings): (a client of a server that computes until `colours.open`, the future of its first answer)"""
    pool = ThreadPoolExecutor(8)

    def start(**settings):
        client = serve(colours, **settings)
        colours.open.clear()
        first = pool.submit(client.predict, picture())
        assert colours.entered.wait(60)
        return client, first
    yield start
    colours.open.set()
    pool.shutdown()


def test_when_the_queue_is_full_it_says_when_to_come_back(busy, colours):
    client, first = busy(max_queue=1)
    status, headers, content = client.ask('POST', '/predict', picture())
    assert (status, headers['Retry-After']) == (503, '1') and content['error'].startswith('1 images wait already')
    colours.open.set()
    assert first.result()[0] == 200 and client.predict(picture())[0] == 200


def test_an_answer_that_takes_too_long_is_503(busy, colours):
    client, first = busy(timeout=0.3)
    status, content = first.result()
    assert (status, content) == (503, {'error': 'no answer within 0.3 s; try again later'})
    assert client.service._admitted == 0


def test_uploads_share_a_limit_of_memory(serve, colours):
    client = serve(colours, max_upload_memory_mb=0.01)
    with client.connect() as connection:
        connection.sendall(HEAD + b'Content-Length: 10000\r\n\r\n' + bytes(9900))
        until(lambda: client.service.uploads.held == 9900)
        assert client.predict(bytes(900))[1] == {'error': 'too many uploads at once; try again later'}
    until(lambda: client.service.uploads.held == 0)
    assert client.predict(picture())[0] == 200


def test_stopping_finishes_what_was_begun_and_refuses_new_requests(busy, colours):
    client, first = busy()
    client.server.stop()
    until(lambda: not client.server._server.servers[0].sockets)
    with pytest.raises(OSError):
        client.predict(picture())
    colours.open.set()
    assert first.result()[0] == 200
    client.thread.join(60)
    assert not client.thread.is_alive() and not client.service.ready


def test_health_says_live_and_ready(serve, colours):
    client = serve(colours)
    expected = {'live': True, 'ready': True, 'model': 'colours', 'engine': 'none'}
    assert client.ask('GET', '/health')[::2] == (200, expected)
    client.service.ready = False
    assert client.ask('GET', '/health')[::2] == (503, {**expected, 'ready': False})


def test_metrics_are_prometheus_text_that_counts(serve, colours):
    client = serve(colours)
    for body in (picture(), picture(), b'x'):
        client.predict(body)
    client.ask('GET', '/a')
    status, headers, text = client.ask('GET', '/metrics')
    assert status == 200 and headers['content-type'].startswith('text/plain')
    values = {(sample.name, *sample.labels.values()): sample.value
              for family in text_string_to_metric_families(text.decode()) for sample in family.samples}
    assert values['requests_total', '/predict', '200'] == 2 and values['requests_total', '/predict', '400'] == 1
    assert values['requests_total', 'other', '404'] == 1 and values['request_seconds_count',] == 3
    assert values['batch_images_sum',] == 2 and values['queue_images',] == values['upload_bytes',] == 0


def test_a_port_that_is_taken_or_a_host_that_is_not_here_is_named(serve, colours):
    client = serve(colours)
    with pytest.raises(UserError, match=f'cannot listen on 127.0.0.1 port {client.address[1]}: .*--port'):
        Server(colours, Settings(), port=int(client.address[1]))
    with pytest.raises(UserError, match='cannot listen on 192.0.2.1'):
        Server(colours, Settings(), '192.0.2.1')
    with pytest.raises(UserError, match='port is 99999'):
        Server(colours, Settings(), port=99999)


@pytest.mark.parametrize('name', ['max_batch', 'timeout', 'max_upload_mb'])
def test_a_setting_out_of_range_is_named(name):
    with pytest.raises(UserError, match=f'{name} is 0; wanted '):
        Settings(**{name: 0})
    assert Settings(max_wait_ms=0).max_wait_ms == 0


def test_its_threads_end_with_it(serve, colours):
    before = threading.active_count()
    client = serve(colours)
    client.predict(picture())
    client.server.stop()
    client.thread.join(60)
    assert threading.active_count() <= before
