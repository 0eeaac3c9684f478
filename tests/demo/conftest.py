import http.client
import io
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.tools.conftest import TOOLS, checkpoint, exported, network, run_tool  # noqa: F401  (fixtures)

SWITCHES = ['--headless=new', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-sync',
            '--disable-background-networking', '--disable-component-update', '--disable-dev-shm-usage',
            '--window-size=1200,1500', '--use-fake-device-for-media-stream', '--use-fake-ui-for-media-stream']
# Notes every address that a process asks the system for.
HOOK = '''import sys
def note(event, arguments):
    if event in ('socket.connect', 'socket.getaddrinfo', 'socket.gethostbyname', 'socket.sendto'):
        target = arguments[0] if event.startswith('socket.get') else arguments[1]
        with open({log!r}, 'a') as file:
            print(target[0] if isinstance(target, tuple) else target, file=file)
sys.addaudithook(note)
'''


def picture(colour=0, kind='PNG', size=(48, 40)):
    """The bytes of a noisy image, red (0) or blue (2), as the trained network knows them."""
    pixels = np.random.default_rng(1).integers(0, 120, (*size[::-1], 3), dtype=np.uint8)
    pixels[:, :, colour] += 120
    return encoded(Image.fromarray(pixels), kind)


def encoded(image, kind='PNG'):
    """The bytes of an image file."""
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


class Page:
    """tools/demo.py in a process of its own, with a temporary directory that a test can look into."""

    def __init__(self, networks, place):
        self.place, self.log, self.temporary = place, place / 'addresses', place / 'temporary'
        self.temporary.mkdir()
        (place / 'sitecustomize.py').write_text(HOOK.format(log=str(self.log)))
        path = os.pathsep.join([str(place), os.environ['PYTHONPATH']])
        environment = {**os.environ, 'TMPDIR': str(self.temporary), 'PYTHONPATH': path}
        command = [sys.executable, str(TOOLS / 'demo.py'), *map(str, networks), '--port', '0', '--max-upload-mb', '1',
                   '--max-pixels', '3000000']
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=(place / 'stderr').open('w'), text=True,
                                        env=environment, cwd=place)
        line = self.process.stdout.readline()
        found = re.fullmatch(r'(.*) at (http://127\.0\.0\.1:\d+); Ctrl-C or SIGTERM stops\n', line)
        assert found, line + self.errors()
        self.labels, self.address = found[1].split(', '), found[2]

    @property
    def folder(self):
        [folder] = self.temporary.glob('mobile-backbones-*')
        return folder

    def errors(self):
        return (self.place / 'stderr').read_text()

    def ask(self, method, path, body=None, headers={}):
        """(status, headers, text) of a request whose path is sent as it is."""
        connection = http.client.HTTPConnection(self.address.removeprefix('http://'), timeout=60)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read().decode('utf-8', 'replace')
        finally:
            connection.close()

    def upload(self, *files):
        """(status, text) of an upload as the page makes it."""
        parts = b''.join(b'--X\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n' + data + b'\r\n'
                         for data in files)
        status, _, text = self.ask('POST', '/gradio_api/upload', parts + b'--X--\r\n',
                                   {'Content-Type': 'multipart/form-data; boundary=X'})
        return status, text

    def join(self, data, **others):
        """(status, text) of a request for an answer."""
        body = json.dumps({'fn_index': 0, 'session_hash': 'a', 'event_data': None, **others, 'data': data})
        status, _, text = self.ask('POST', '/gradio_api/queue/join', body, {'Content-Type': 'application/json'})
        return status, text

    def answer(self, data, **others):
        """(everything that the server says of it, the message with its output)"""
        session = secrets.token_hex(8)
        status, text = self.join(data, session_hash=session, **others)
        assert status == 200, text
        stream = self.ask('GET', f'/gradio_api/queue/data?session_hash={session}')[2]
        messages = [json.loads(line.removeprefix('data: ')) for line in stream.splitlines() if line.startswith('data: ')]
        return stream, next(message for message in messages if message['msg'] == 'process_completed')

    def stop(self):
        """(exit code, what it said at last)"""
        self.process.send_signal(signal.SIGTERM)
        out = self.process.communicate(timeout=300)[0]
        return self.process.returncode, out


@pytest.fixture(scope='package')
def page(trained, checkpoint, exported, tmp_path_factory):  # noqa: F811
    page = Page([trained, checkpoint, exported[1]], tmp_path_factory.mktemp('page'))
    assert page.errors() == ''
    yield page
    page.process.kill()
    page.process.wait()


@pytest.fixture(scope='package')
def browser():
    """Chromium without a window, which notes its requests."""
    chromium, driver = shutil.which('chromium') or shutil.which('google-chrome'), shutil.which('chromedriver')
    if not chromium or not driver:
        pytest.skip('no Chromium with its driver on this machine: apt-get install chromium chromium-driver')
    from selenium import webdriver
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        options = webdriver.ChromeOptions()
        options.binary_location = chromium
        for switch in [*SWITCHES, f'--user-data-dir={profile}']:
            options.add_argument(switch)
        options.set_capability('goog:loggingPrefs', {'performance': 'ALL', 'browser': 'ALL'})
        browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
        yield browser
        browser.quit()


@pytest.fixture(scope='session')
def screenshots(tmp_path_factory):
    """The directory of the browser's pictures: SCREENSHOTS of the environment, for who wants to look at them."""
    place = Path(os.environ.get('SCREENSHOTS') or tmp_path_factory.mktemp('screenshots'))
    place.mkdir(parents=True, exist_ok=True)
    return place
