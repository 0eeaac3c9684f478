"""A server on this machine whose replies a test sets, and a cache of its own."""
import os
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

DATA = bytes(range(256)) * 4096                                    # 1 MiB


class Handler(BaseHTTPRequestHandler):
    """Answers with the next of the server's replies, the last one for ever; a reply is a function of the handler."""
    protocol_version = 'HTTP/1.1'

    def do_GET(self):
        server = self.server
        with server.lock:
            server.asked.append((self.path, dict(self.headers)))
            reply = server.replies.pop(0) if len(server.replies) > 1 else server.replies[0]
        self.close_connection = True
        try:
            reply(self)
        except ConnectionError:                                    # the client has hung up
            pass

    def log_message(self, *_):
        pass


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A server whose `replies` a test sets; `asked` are the (path, headers) of its requests. The cache is tmp_path/cache."""
    for name in os.environ.keys() & {'HF_ENDPOINT', 'http_proxy', 'HTTP_PROXY', 'all_proxy', 'ALL_PROXY'}:
        monkeypatch.delenv(name)
    for name in ('MIRROR', 'OFFLINE', 'TIMEOUT'):
        monkeypatch.delenv(f'PADDLE_MOBILE_BACKBONES_{name}', raising=False)
    monkeypatch.setenv('PADDLE_MOBILE_BACKBONES_HOME', str(tmp_path / 'cache'))
    server = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    server.daemon_threads, server.block_on_close = True, False
    server.lock, server.asked, server.replies, server.go = threading.Lock(), [], [whole()], threading.Event()
    server.url = f'http://127.0.0.1:{server.server_port}'
    thread = threading.Thread(target=server.serve_forever, kwargs={'poll_interval': 0.01})
    thread.start()
    yield server
    server.go.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def url(server):
    return f'{server.url}/models/net.pth'


def answer(handler, status, headers, body=b''):
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name, str(value))
    handler.end_headers()
    handler.wfile.write(body)


def status(code, **headers):
    return lambda handler: answer(handler, code, {'Content-Length': 0, **{k.replace('_', '-'): v for k, v in headers.items()}})


def whole(data=DATA, send=None, **headers):
    """A reply with all of the data, whatever range is asked for; only its first `send` bytes really come."""
    headers = {name.replace('_', '-'): value for name, value in headers.items()}
    return lambda handler: answer(handler, 200, {'Content-Length': len(data), **headers}, data[:send])


def ranges(data=DATA, etag='"1"', send=None, obeys_if_range=True):
    """A reply of a server that knows Range and If-Range."""
    def reply(handler):
        start = int(re.search(r'\d+', handler.headers.get('Range', 'bytes=0-'))[0])
        head = {'ETag': etag} if etag else {}
        if not start or obeys_if_range and handler.headers.get('If-Range', etag) != etag:
            return answer(handler, 200, {'Content-Length': len(data), **head}, data[:send])
        if start >= len(data):
            return answer(handler, 416, {'Content-Length': 0})
        head['Content-Range'] = f'bytes {start}-{len(data) - 1}/{len(data)}'
        answer(handler, 206, {'Content-Length': len(data) - start, **head}, data[start:send])
    return reply


def stalls(server, after):
    """A reply that sends the first bytes in two blocks and then nothing until the test is over."""
    def reply(handler):
        answer(handler, 200, {'Content-Length': len(DATA), 'ETag': '"1"'}, DATA[:after // 2])
        time.sleep(0.05)
        handler.wfile.write(DATA[after // 2:after])
        server.go.wait()
    return reply
