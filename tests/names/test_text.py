"""Names of any bytes as text that streams, files and JSON take."""
import io
import json
import sys

import pytest

from image_classification.names.text import as_json, for_stream, let_streams_take_any_name, shown

GBK = b'\xd6\xd0\xce\xc4'.decode('utf-8', 'surrogateescape')        # a name from a Chinese Windows


@pytest.mark.parametrize('name, text', [('cat', 'cat'), ('猫', '猫'), (GBK, r'\xd6\xd0\xce\xc4'), (f'猫{GBK[0]}', r'猫\xd6'),
                                        ('\ud800', r'\ud800'), ('a\nb\x1b[2J', r'a\nb\x1b[2J'), ('👩\u200d🚀', '👩\u200d🚀')])
def test_a_name_is_shown_in_valid_unicode_on_one_line(name, text):
    assert shown(name) == text and text.encode()


@pytest.mark.parametrize('errors', ['strict', 'replace'])
@pytest.mark.parametrize('encoding, written', [('utf-8', '猫'.encode() + b' \xd6\xd0\xce\xc4 ' + 'ü\n'.encode()),
                                               ('ascii', b'\\u732b \xd6\xd0\xce\xc4 \\xfc\n'),
                                               ('latin-1', b'\\u732b \xd6\xd0\xce\xc4 \xfc\n')])
def test_a_stream_of_any_encoding_takes_every_name(monkeypatch, encoding, written, errors):
    stream = io.TextIOWrapper(io.BytesIO(), encoding, errors)
    monkeypatch.setattr(sys, 'stdout', stream)
    let_streams_take_any_name()
    print('猫', GBK, 'ü', flush=True)
    assert stream.buffer.getvalue() == written


def test_streams_that_are_none_of_pythons_are_left_alone(monkeypatch):
    monkeypatch.setattr(sys, 'stdout', None)
    monkeypatch.setattr(sys, 'stderr', io.StringIO())
    let_streams_take_any_name()


@pytest.mark.parametrize('encoding, text', [('utf-8', r'猫 \xd6\xd0\xce\xc4'), ('ascii', r'\u732b \xd6\xd0\xce\xc4')])
def test_a_strict_stream_of_somebody_elses_gets_escapes(encoding, text):
    assert for_stream(f'猫 {GBK}\n', io.TextIOWrapper(io.BytesIO(), encoding, 'strict')) == f'{text}\n'
    assert for_stream('plain', io.StringIO()) == 'plain'


@pytest.mark.parametrize('names', [['猫', 'a"b'], [GBK, '猫'], []])
def test_json_gives_the_same_names_back(names):
    text = as_json(names)
    assert json.loads(text.encode()) == names and ('猫' in text) == ('猫' in names and GBK not in names)
