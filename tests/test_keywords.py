"""The keywords of `create_model`: every key of every family has one."""
import pytest

import image_classification as ic
from image_classification.config import bounds_of, families, get_config, keys_below, model_yamls
from image_classification.models import create_model


class Found(Exception):
    """In place of a network, its configuration."""


@pytest.fixture
def configured(monkeypatch):
    """configured(name, **keywords): MODEL of the network that `create_model` would build."""
    def build(cfg):
        raise Found(cfg)

    def configure(name, **keywords):
        with pytest.raises(Found) as caught:
            create_model(name, **keywords)
        return caught.value.args[0].MODEL
    monkeypatch.setattr('image_classification.models.build_model', build)
    return configure


def other(value, bounds):
    """Another value of the same type, within the bounds."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, (list, tuple)):
        found = [*value, *value], [item + 1 for item in value]
    elif isinstance(value, str):
        found = f'{value}x', *getattr(bounds, 'choices', ())
    else:
        found = (value + 1, value - 1) if isinstance(value, int) else (value + 1, value / 2, value + 0.5)
    return next(item for item in found if item != value and not (bounds and bounds.fault(item)))


def value_of(node, key):
    for part in key.split('.'):
        node = node[part]
    return node


@pytest.mark.parametrize('family', families())
def test_every_key_of_a_family_has_a_keyword(family, configured):
    name = next(name for name, path in model_yamls().items() if path.parent.name == family)
    model = get_config(name).MODEL
    keys = [key for key in keys_below(model)
            if key not in ('TYPE', 'NAME') and not isinstance(value_of(model, key), dict)]
    last_parts = [key.rpartition('.')[2] for key in keys]
    words = {key: last if last_parts.count(last) == 1 or '.' not in key else '_'.join(key.split('.')[-2:])
             for key, last in zip(keys, last_parts)}
    bounds = bounds_of(family)
    others = {key: other(value_of(model, key), bounds.get(f'MODEL.{key}')) for key in keys}
    found = configured(name, **{word.lower(): others[key] for key, word in words.items()})
    assert {key: value_of(found, key) for key in keys} == others


def test_networks_are_built_with_keys_below_a_group():
    assert ic.create_model('mobileformer_26m', num_classes=2, tokens=[2, 64]).tokens.shape[-2:] == [2, 64]
    assert ic.create_model('edgenext_xx_small', features_only=True, dims=[8, 16, 24, 32]).channels == (8, 16, 24, 32)


def test_a_keyword_that_may_be_two_keys_is_answered_with_both_choices():
    with pytest.raises(ic.UserError, match='STEM.KERNELS or MODEL.MF.BLOCK.KERNELS; write stem_kernels or block_kernels'):
        create_model('mobileformer_26m', kernels=5)


def test_two_keywords_of_one_key_are_refused():
    with pytest.raises(ic.UserError, match="create_model's drop_rate and dropout are both MODEL.DROPOUT; give one of them"):
        create_model('mobileformer_26m', drop_rate=0.1, dropout=0.2)


def test_an_unknown_keyword_is_answered_with_the_nearest():
    with pytest.raises(ic.UserError, match="no keyword 'tokns'; the nearest is 'tokens'"):
        create_model('mobileformer_26m', tokns=5)
