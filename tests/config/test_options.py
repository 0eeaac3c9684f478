"""Options of commands: how they may be written, and what their values may be."""
import pytest

import image_classification as ic
from image_classification.config.bounds import whole
from image_classification.config.options import HOST, SECONDS, Parser


@pytest.fixture
def parse():
    parser = Parser('it')
    parser.add_argument('pictures', nargs='*')
    parser.add_argument('--batch-size', type=int, default=32, bounds=whole(1, 99))
    parser.add_argument('--clients', type=int, nargs='+', bounds=whole(1, 9))
    parser.add_argument('--timeout', type=float, bounds=SECONDS)
    parser.add_argument('--host', bounds=HOST)
    parser.add_argument('--output')
    parser.add_argument('--style', default='')
    parser.add_argument_group('others').add_argument('--peer-python')
    return lambda *words: parser.parse_args(list(words))


@pytest.mark.parametrize('words', ['--batch-size 8', '--batch_size 8', '-batch_size 8', '-batch-size 8', '--batch_size=8',
                                   '-batch-size=8', '--batch 8'])
def test_an_option_may_be_written_with_hyphens_or_underscores_and_one_dash_or_two(parse, words):
    assert parse(*words.split()).batch_size == 8


def test_options_of_groups_may_be_too_and_other_words_stay(parse):
    assert parse('-peer_python', 'p').peer_python == 'p'
    assert parse('-', 'a-b_c', '-1', '--batch_size', '8').pictures == ['-', 'a-b_c', '-1']
    assert parse('--batch_size', '8', '--', '-batch_size').pictures == ['-batch_size']


@pytest.mark.parametrize('words, text', [
    ('--batch_size 0', '--batch-size is 0; wanted a whole number from 1 to 99'), ('--batch-size -5', '--batch-size is -5'),
    ('--clients 3 10', '--clients is 10; wanted a whole number from 1 to 9'),
    ('--timeout nan', '--timeout is nan; wanted a number above 0'),
    ('--timeout inf', '--timeout is inf'), ('--timeout 1e999', '--timeout is inf'), ('--timeout 0', '--timeout is 0.0'),
    ('--timeout=-inf', '--timeout is -inf'), ('--host=', "--host is ''; wanted an address, e.g. 127.0.0.1")])
def test_a_value_out_of_its_bounds_is_named_with_them(parse, words, text):
    with pytest.raises(ic.UserError) as caught:
        parse(*words.split())
    assert str(caught.value).startswith(text)


def test_a_text_is_not_empty_unless_its_default_is(parse):
    with pytest.raises(ic.UserError, match="--output is ''; wanted a text that is not empty"):
        parse('--output', '')
    assert parse('--output', 'x', '--style', '', '').pictures == ['']


def test_an_unknown_option_is_answered_with_the_nearest(parse, capsys):
    with pytest.raises(SystemExit):
        parse('--batchsize', '8')
    assert '--batchsize; the nearest option is --batch-size' in capsys.readouterr().err.replace(' 8;', ';')
    with pytest.raises(SystemExit):
        parse('--batch-size', '9' * 5000)
    assert len(capsys.readouterr().err) < 1000
