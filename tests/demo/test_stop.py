"""What the page leaves. It is the one of the other files, which come before this one."""
from .conftest import picture


def test_it_serves_until_sigterm_and_then_leaves_nothing(page):
    before, said = len(list(page.folder.iterdir())), page.errors()  # of what other tests have asked for
    assert page.upload(picture())[0] == 200 and len(list(page.folder.iterdir())) == before + 1
    assert page.stop() == (0, 'stopped\n') and page.errors() == said
    assert not list(page.temporary.glob('mobile-backbones-*'))
