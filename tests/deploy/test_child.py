from image_classification.deploy import child


def test_a_program_that_fails_or_hangs_says_so(monkeypatch):
    assert child.run_child('no_such_program').endswith('No module named image_classification.deploy.no_such_program')
    monkeypatch.setattr(child, '_SECONDS', 0.05)
    assert child.run_child('trial') == 'it did not end within 0.05 s'


def test_the_telling_line_of_a_long_message_is_found():
    assert child.reason('Traceback\n  File "x"\n\nValueError: no such map\n  [operator < conv > error]') == 'ValueError: no such map'
    assert child.reason('one\ntwo\n') == 'two' and child.reason('') == ''
