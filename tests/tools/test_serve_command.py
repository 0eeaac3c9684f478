import http.client
import json
import re
import signal
import subprocess
import sys

import pytest

from tests.deploy.serving.conftest import colours, serve  # noqa: F401  (fixtures)
from tests.tools.conftest import TOOLS, load_tool


@pytest.fixture(scope='module')
def server(exported):
    """(process, host and port) of tools/serve.py on a free port."""
    command = [sys.executable, str(TOOLS / 'serve.py'), str(exported[1]), '--port', '0', '--max-upload-mb', '0.5']
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    line = process.stdout.readline()
    address = re.fullmatch(r'mobilenet_v1_x0_25 \(\w+\) at http://(127\.0\.0\.1:\d+); Ctrl-C or SIGTERM stops\n', line)
    assert address, line + process.stderr.read()
    yield process, address[1]
    process.kill()
    process.wait()


def test_it_serves_until_sigterm_and_then_exits_without_an_error(server, pictures):
    process, address = server
    connection = http.client.HTTPConnection(address, timeout=60)
    connection.request('POST', '/predict?top_k=3', (pictures / 'picture 3.png').read_bytes())
    assert len(json.loads(connection.getresponse().read())['predictions']) == 3
    connection.request('POST', '/predict', bytes(600_000))
    assert connection.getresponse().status == 413
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (0, 'stopped\n', '')


@pytest.mark.parametrize('flags, words', [
    (['--max-batch', 0], '--max-batch is 0'), (['--engine', 'paddle'], "the engine 'paddle' does not run"),
    (['--port', 99999], '--port is 99999; wanted 0 to 65535')])
def test_bad_flags_get_one_line(call_tool, exported, flags, words):
    code, out, err = call_tool(load_tool('serve'), exported[1], *flags)
    assert (code, out) == (1, '') and words in err and len(err.splitlines()) == 1


def test_without_the_extra_it_says_how_to_install_it(call_tool, monkeypatch, exported):
    monkeypatch.setitem(sys.modules, 'uvicorn', None)
    monkeypatch.delitem(sys.modules, 'image_classification.deploy.serving.server', raising=False)
    code, out, err = call_tool(load_tool('serve'), exported[1])
    assert code == 1 and "needs uvicorn, which is not installed" in err and "pip install -e '.[serve]'" in err


@pytest.fixture
def load(call_tool):
    return lambda *arguments: call_tool(load_tool('benchmark_serve'), *arguments)


def test_the_load_test_counts_what_a_running_server_answers(load, serve, colours, tmp_path):  # noqa: F811
    client = serve(colours)
    code, out, err = load(client.server.address, '--clients', 1, 3, '--seconds', 0.3, '--json', tmp_path / 'figures.json')
    assert (code, err) == (0, '') and [line.split()[1] for line in out.splitlines()[3:]] == ['1', '3']
    figures = json.loads((tmp_path / 'figures.json').read_text())
    for row in figures['rows']:
        assert row['answered'] > 0 == row['refused'] == row['errors']
        assert row['p50_ms'] <= row['p90_ms'] <= row['p99_ms'] and row['memory_mib'] > 0
    assert client.service.metrics.registry.get_sample_value('batch_images_sum') >= sum(r['answered'] for r in figures['rows'])


def test_the_load_test_tells_refusals_and_errors_from_answers(load, serve, colours, tmp_path):  # noqa: F811
    (tmp_path / 'black.jpg').write_bytes(b'no image')
    client = serve(colours)
    code, out, err = load(client.server.address, tmp_path / 'black.jpg', '--clients', 1, '--seconds', 0.1)
    answered, refused, errors = out.splitlines()[-1].split(' | ')[5:8]
    assert (code, answered, refused) == (0, '0', '0') and int(errors) > 0


@pytest.mark.parametrize('arguments, words', [
    (['http://127.0.0.1:1'], 'does not answer'), (['http://127.0.0.1:99999'], 'does not answer'),
    ([f'http://{"x" * 300}'], 'does not answer'), (['nowhere'], 'tools/serve.py ended with exit code 1'),
    (['http://127.0.0.1:1', '--max-batch', 3], '--max-batch is unknown'), (['http://127.0.0.1:1', 'no.jpg'], 'cannot be read')])
def test_the_load_test_says_what_is_wrong(load, arguments, words):
    code, out, err = load(*arguments)
    assert code == 1 and words in err and len(err.splitlines()) <= 2
