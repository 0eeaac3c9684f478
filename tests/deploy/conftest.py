import pytest

from tests.exports import CLASSES, SIZE, children_in_process  # noqa: F401


@pytest.fixture
def quick():
    """Exports of this test are made in its process."""
    with children_in_process():
        yield
