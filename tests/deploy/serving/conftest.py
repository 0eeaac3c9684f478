import contextlib
import http.client
import io
import json
import socket
import threading
import time

import numpy as np
import pytest
from PIL import Image

from image_classification.datasets import Preprocess
from image_classification.deploy.serving.server import Server
from image_classification.deploy.serving.uploads import Settings

FOREVER = 300                              # seconds; a machine may be busy with other things


class Colours:
    """A predictor that says how red, green and blue a picture is; it computes only while `open` is set."""
    name, engine, class_names = 'colours', 'none', ['red', 'green', 'blue']
    preprocess = Preprocess(8, 1.0, 'bilinear', [0], [1])

    def __init__(self):
        self.sizes, self.open, self.entered = [], threading.Event(), threading.Event()
        self.open.set()

    def prepare(self, image):
        return self.preprocess(image)

    def warm_up(self, batch_sizes):
        pass

    def probabilities(self, inputs):
        self.sizes.append(len(inputs))
        self.entered.set()
        assert self.open.wait(FOREVER)
        colours = inputs.mean((2, 3))
        if (colours.sum(1) == 0).any():
            raise ValueError('/secret/path: black')
        return colours / colours.sum(1, keepdims=True)

    def top_k(self, probabilities, k):
        return [(self.class_names[i], float(probabilities[i])) for i in np.argsort(-probabilities)[:k]]


def picture(colour=(255, 0, 0), kind='PNG', size=(20, 16)):
    """The bytes of an image file."""
    file = io.BytesIO()
    Image.new('RGB', size, colour).save(file, kind)
    return file.getvalue()


class Client:
    """Talks to a server, over a new connection each time."""

    def __init__(self, server):
        self.address = server.address.split('/')[-1].split(':')

    def connect(self):
        return socket.create_connection(self.address, timeout=FOREVER)

    def ask(self, method, path, body=None, headers={}):
        """(status, headers, body: decoded where it is JSON)"""
        connection = http.client.HTTPConnection(*self.address, timeout=FOREVER)
        with contextlib.closing(connection):
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            content = answer.read()
        return answer.status, answer.headers, json.loads(content) if 'json' in answer.headers['content-type'] else content

    def predict(self, body, headers={}, query=''):
        """(status, content)"""
        status, _, content = self.ask('POST', '/predict' + query, body, headers)
        return status, content

    def send(self, data):
        """All that the server says to these bytes until it closes the connection."""
        with self.connect() as connection:
            connection.sendall(data)
            return b''.join(iter(lambda: connection.recv(1 << 16), b''))


@pytest.fixture
def colours():
    return Colours()


@pytest.fixture
def serve():
    """serve(predictor, **settings): a Client of a new server, which has `server` and `thread`."""
    running = []

    def start(predictor, **settings):
        server = Server(predictor, Settings(**settings))
        thread = threading.Thread(target=server.run)
        thread.start()
        running.append((server, thread, predictor))
        client = Client(server)
        client.server, client.thread, client.service = server, thread, server.app.state.service
        until(lambda: client.service.ready)
        return client

    yield start
    for server, thread, predictor in running:
        getattr(predictor, 'open', threading.Event()).set()
        server.stop()
        thread.join(FOREVER)
        assert not thread.is_alive()


def until(condition):
    """Wait for something that another thread is about to do."""
    end = time.monotonic() + FOREVER
    while not condition():
        assert time.monotonic() < end, 'it did not happen'
        time.sleep(0.01)
