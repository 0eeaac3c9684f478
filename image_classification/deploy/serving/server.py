"""The server: sockets, connections and signals. Any misuse of HTTP by a client ends in a closed connection."""
import functools
import json
import signal
import socket
import threading

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from image_classification.config import check
from image_classification.config.options import HOST, PORT
from image_classification.deploy.serving.app import build_app
from image_classification.errors import UserError

_HEADER_BYTES = 16 << 10
_IDLE_SECONDS = 5                                                  # at most, between two requests on a connection


class BoundedProtocol(H11Protocol):
    """uvicorn's protocol with limits: a client has `seconds` to send the headers of a request, and connections above `most` are
    closed at once. A request that is not HTTP gets an answer in JSON."""

    def __init__(self, seconds, most, **kwargs):
        super().__init__(**kwargs)
        self._seconds, self._most = seconds, most
        self._patience = None                                      # the timer of the headers

    def connection_made(self, transport):
        super().connection_made(transport)
        # An answer is sent in two small pieces. Without this option, the second would wait 40 ms until the client acknowledges
        # the first. asyncio sets the option only for sockets that it has opened itself.
        transport.get_extra_info('socket').setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if len(self.connections) > self._most:
            transport.abort()
        else:
            self._expect_headers()

    def connection_lost(self, error):
        if self._patience is not None:
            self._patience.cancel()
        super().connection_lost(error)

    def data_received(self, data):
        super().data_received(data)
        self._expect_headers()

    def _expect_headers(self):
        """Stop the timer if a request is being answered, otherwise start it."""
        if self.cycle is not None and not self.cycle.response_complete:
            if self._patience is not None:
                self._patience.cancel()
                self._patience = None
        elif self._patience is None and not self.transport.is_closing():
            self._patience = self.loop.call_later(self._seconds, self.transport.abort)

    def send_400_response(self, message):
        if self.cycle is None or self.cycle.response_complete:
            body = json.dumps({'error': message}).encode()
            head = f'HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n'
            self.transport.write(head.encode() + b'connection: close\r\n\r\n' + body)
        self.transport.close()


class AppServer:
    """Serves an ASGI application on a socket of its own. `run` serves until SIGTERM, Ctrl-C or `stop`, then finishes the
    requests that are being answered.

    Args:
        app: the application.
        settings: Settings, of which `timeout` and `max_connections` are used here.
        host, port: where to listen. Port 0 takes a free port; `address` has its number.
        patience: seconds that answers may take after `stop`; by default as long as a request may take to arrive, to wait and to
            be computed.
    Raises:
        UserError: it cannot listen there, or `host` is empty, which would mean every address of this machine.
    """

    def __init__(self, app, settings, host='127.0.0.1', port=0, patience=None):
        check('host', host, HOST)
        check('port', port, PORT)
        try:
            family = socket.AF_INET6 if ':' in host else socket.AF_INET
            self._socket = socket.create_server((host, port), family=family)
        except (OSError, OverflowError, UnicodeError) as error:    # UnicodeError: not a valid host name
            reason = getattr(error, 'strerror', None) or error
            raise UserError(f'cannot listen on {host} port {port}: {reason}. Choose another --host or --port') from None
        shown = f'[{host}]' if ':' in host else host
        self.address = f'http://{shown}:{self._socket.getsockname()[1]}'
        self.app = app
        protocol = functools.partial(BoundedProtocol, settings.timeout, settings.max_connections)
        self._server = uvicorn.Server(uvicorn.Config(
            app, http=protocol, ws='none', lifespan='on', log_level='error', access_log=False, server_header=False,
            proxy_headers=False, timeout_keep_alive=min(_IDLE_SECONDS, settings.timeout),
            h11_max_incomplete_event_size=_HEADER_BYTES,
            timeout_graceful_shutdown=int(2 * settings.timeout) + 1 if patience is None else patience))

    def run(self):
        """Serve until stopped. May be called only once."""
        if threading.current_thread() is threading.main_thread():
            # After a graceful stop uvicorn raises the signal again, which must not count as a failure.
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda *_: None)
            if signal.getsignal(getattr(signal, 'SIGHUP', signal.SIGTERM)) is not signal.SIG_IGN:
                signal.signal(getattr(signal, 'SIGHUP', signal.SIGTERM), lambda *_: self.stop())   # uvicorn does not handle it
        self._server.run(sockets=[self._socket])

    def stop(self):
        """Stop as on SIGTERM; for other threads."""
        self._server.should_exit = True


class Server(AppServer):
    """The AppServer of `predictor`, with POST /predict, GET /health and GET /metrics."""

    def __init__(self, predictor, settings, host='127.0.0.1', port=0):
        super().__init__(build_app(predictor, settings), settings, host, port)
