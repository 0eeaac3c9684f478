"""Prevents silent hangs. A thread in every training process ends it when another process has died or failed, or when any
process has made no progress for WATCHDOG_SECONDS. The last line of output has the reason.

Process 0 is the hub. The others connect to it, and regularly report for how long they have made no progress. Messages are
lines of JSON: {"idle": seconds, "doing": words}, {"end": reason, "code": exit code}, {"bye": true}.
"""
import json
import multiprocessing
import os
import secrets
import select
import socket
import threading
import time

from image_classification.datasets.shared_memory import remove_own
from image_classification.errors import TemporaryError, complain

_PERIOD = 1.0                              # seconds between two messages
_FIRST_WORD = 10.0                         # seconds for a new connection to identify itself
_FAILED = TemporaryError.exit_code


class Unwatched:
    """A watchdog that does nothing, for use from other Python code."""

    def beat(self, doing):
        pass

    def listen(self, listener):
        pass

    def close(self):
        pass


class Watchdog(Unwatched):
    """The thread. Call `beat(doing)` whenever the work makes progress. It is watched from the first beat to `close()`.

    Args:
        group: this process within all processes.
        limit: seconds without progress or without an answer that count as a hang; 0: no limit.
        listener: called with (reason, exit code) before this process ends.
        parent: process id of the parent; this process ends when it disappears (0: do not check).
    """

    def __init__(self, group, limit, listener, parent=0):
        self.group, self.limit, self.parent = group, limit or float('inf'), parent
        self.listeners = [listener]
        self.period = min(_PERIOD, self.limit / 5)
        self.moved, self.doing, self.closing = None, '', threading.Event()
        self.peers = {}                    # {rank: _Peer}: all others in the hub, only the hub in the others
        self.lock = threading.Lock()
        self.waker, self.alarm = socket.socketpair()
        self._connect()
        self.thread = threading.Thread(target=self._watch, name='watchdog', daemon=True)
        self.thread.start()

    def beat(self, doing):
        self.doing, self.moved = doing, time.monotonic()

    def listen(self, listener):
        self.listeners.append(listener)

    def close(self):
        """Stop watching, because the work is done. The other processes learn that this one may end."""
        if not self.closing.is_set():
            self.closing.set()
            self._part({'bye': True})

    def fail(self, reason, code):
        """Tell the other processes why this one is about to end."""
        self.closing.set()
        self._part({'end': f'process {self.group.rank}: {reason}', 'code': code})

    def _connect(self):
        if self.group.world_size == 1:
            return
        if self.group.is_main:
            server = socket.create_server(('', 0))
            address = os.environ.get('PADDLE_CURRENT_ENDPOINT', '127.0.0.1:0').rpartition(':')[0]
            hub = [address, server.getsockname()[1], secrets.token_hex(16)]
            self.group.gather_objects(hub)
            self.peers = _accept(server, hub[2], self.group.world_size - 1)
        else:
            host, port, token = self.group.gather_objects(None)[0]
            connection = socket.create_connection((host, port), timeout=60)
            self.peers = {0: _Peer(connection)}
            self._tell({'rank': self.group.rank, 'token': token})

    def _tell(self, message):
        with self.lock:
            for peer in self.peers.values():
                peer.send(message)

    def _part(self, message):
        """Send the last message. Messages from the others are read first: TCP drops ours if theirs are unread."""
        self.alarm.send(b'!')
        self.thread.join(5)
        self._tell(message)
        for peer in self.peers.values():
            peer.hang_up()

    def _watch(self):
        told = 0.0
        while not self._wait_for_words():
            idle = self._idle()
            if time.monotonic() - told >= self.period:
                told = time.monotonic()
                self._tell({'idle': idle, 'doing': self.doing})
            stuck = {self.group.rank: (idle, self.doing)}
            for rank, peer in self.peers.items():
                for message in peer.receive():
                    if 'end' in message:
                        self._end(message['end'], message['code'])
                if peer.gone and not peer.bye:
                    self._end(f'process {rank} has ended without a word; it was killed, or memory ran out', _FAILED)
                if not peer.bye and peer.silence() > self.limit:
                    self._end(f'process {rank} has not answered for {self.limit:.0f} s; it was stopped, or its machine or the '
                              'network failed', _FAILED)
                if not peer.bye:
                    stuck[rank] = (peer.idle + peer.silence(), peer.doing)
            rank, (idle, doing) = max(stuck.items(), key=lambda item: item[1][0])   # the first to stop; the others wait for it
            if idle > self.limit and self.group.is_main:
                self._end(f'process {rank} has made no progress for {self.limit:.0f} s (WATCHDOG_SECONDS) in: {doing}', _FAILED)
            if self.parent and os.getppid() != self.parent:
                self._end('the process that started this one is gone', _FAILED)

    def _wait_for_words(self):
        """Wait until another process sends something or is gone, for a period at most. Returns whether the work is done."""
        there = [peer.connection for peer in self.peers.values() if not peer.gone]
        if there:
            select.select([self.waker, *there], [], [], self.period)
        else:
            self.closing.wait(self.period)
        return self.closing.is_set()

    def _idle(self):
        return 0.0 if self.moved is None else time.monotonic() - self.moved

    def _end(self, reason, code):
        """End this process, even if its main thread hangs, and the processes that load its images."""
        if self.closing.is_set():                                  # the main thread is already ending with its own reason
            return
        self._tell({'end': reason, 'code': code})
        for peer in self.peers.values():
            peer.hang_up()
        for listener in self.listeners:
            listener(reason, code)
        for child in multiprocessing.active_children():
            child.kill()
        remove_own()
        complain(f'error: {reason}')
        os._exit(code)


class _Peer:
    """The connection to another process."""

    def __init__(self, connection):
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.connection, self.rest = connection, b''
        self.heard, self.idle, self.doing = time.monotonic(), 0.0, ''
        self.gone = self.bye = False

    def silence(self):
        return time.monotonic() - self.heard

    def send(self, message):
        try:
            self.connection.send(json.dumps(message).encode() + b'\n')
        except BlockingIOError:                                    # the peer does not read; its silence will be noticed
            pass
        except OSError:
            self.gone = True

    def hang_up(self):
        try:
            self.connection.shutdown(socket.SHUT_WR)
            self.receive()
        except OSError:
            pass

    def receive(self):
        """The messages received since the last call."""
        try:
            while data := self.connection.recv(65536):
                self.rest += data
                self.heard = time.monotonic()
            self.gone = True
        except BlockingIOError:
            pass
        except OSError:
            self.gone = True
        *lines, self.rest = self.rest.split(b'\n')
        messages = [json.loads(line) for line in lines]
        for message in messages:
            self.idle, self.doing = message.get('idle', self.idle), message.get('doing', self.doing)
            self.bye = self.bye or 'bye' in message
        return messages


def _accept(server, token, count):
    """{rank: _Peer} of the first `count` connections that send the token, within a minute."""
    found, waiting, end = {}, [], time.monotonic() + 60
    server.setblocking(False)
    while len(found) < count:
        if time.monotonic() > end:
            raise TemporaryError(f'{count - len(found)} of {count} processes did not connect to process 0 within a minute; is '
                                 'there a firewall between the machines?')
        if select.select([server], [], [], 0.05)[0]:
            waiting.append(_Peer(server.accept()[0]))
        for peer in list(waiting):
            words = _first_words(peer)
            if words.get('token') == token:
                found[words['rank']] = peer
            if words or peer.gone or peer.silence() > _FIRST_WORD:
                waiting.remove(peer)
    server.close()
    return found


def _first_words(peer):
    try:
        return (peer.receive() or [{}])[0]
    except (ValueError, AttributeError):                           # not one of our processes
        peer.gone = True
        return {}
