"""Files in tests/data/written_before/ go on loading: they are of the library before MODEL was for the network alone.

run/ is of a training of two steps, started with weights, interrupted after the first and resumed.
"""
import json
import shutil
import warnings
from pathlib import Path

import numpy as np
import paddle
import pytest
import yaml

import image_classification as ic
from image_classification.checkpoint import load_network, read_checkpoint
from image_classification.engine.processes.distributed import Group
from image_classification.engine.trainer import train_or_evaluate

WRITTEN = Path(__file__).parent / 'data' / 'written_before'
EXPECTED = json.loads((WRITTEN / 'expected.json').read_text(encoding='utf-8'))       # by the code that wrote the files


@pytest.fixture
def written(tmp_path):
    return shutil.copytree(WRITTEN / 'run', tmp_path / 'output' / 'train-mobileformer_26m-20261126-212117')


@pytest.mark.parametrize('name', ['best', 'last'])
def test_a_checkpoint_gives_the_same_network(name):
    model, class_names = load_network(WRITTEN / 'run' / f'{name}.safetensors')
    images = paddle.to_tensor(np.linspace(-2, 2, 2 * 3 * 32 * 32, dtype='float32').reshape(2, 3, 32, 32))
    with paddle.no_grad():
        np.testing.assert_allclose(model(images).numpy(), EXPECTED['logits'][name], rtol=1e-4)
    assert class_names == EXPECTED['class_names']


@pytest.mark.parametrize('resume', ['auto', 'last.safetensors', '.'])
def test_a_training_goes_on_where_it_was(written, colours, resume):
    resume = resume if resume == 'auto' else str(written / resume)
    cfg = ic.get_config(written / 'config.yaml', {
        'MODEL.RESUME': resume, 'SAVE': str(written.parent), 'DATA.DATA_PATH': str(colours), 'TRAIN.MAX_STEPS': 3,
        'EXPORT': False})
    train_or_evaluate(cfg, Group())
    rows = [json.loads(line) for line in (written / 'metrics.jsonl').read_text().splitlines()]
    last = [row for row in rows if row['kind'] == 'train'][-1]
    assert (last['step'], last['loss']) == (3, pytest.approx(EXPECTED['loss_of_step_3'], rel=1e-4))
    log = (written / 'log.txt').read_text()
    changed = next(line for line in log.splitlines() if 'changed since the checkpoint' in line).split(': ')[1]
    assert [change.split()[0] for change in changed.split(', ')] == ['DATA.DATA_PATH', 'TRAIN.MAX_STEPS', 'SAVE']


def test_a_checkpoint_is_evaluated_and_is_a_start_for_other_classes(written, colours, tmp_path):
    options = {'DATA.DATA_PATH': str(colours), 'SAVE': str(tmp_path / 'evaluated'), 'EVAL': True}
    for key, name in (('MODEL.PRETRAINED', 'best'), ('MODEL.RESUME', 'last')):
        cfg = ic.get_config(written / 'config.yaml', {**options, key: str(written / f'{name}.safetensors')})
        assert train_or_evaluate(cfg, Group())['images'] == 10
    with pytest.warns(UserWarning, match='classes than 5'):
        ic.create_model(written / 'config.yaml', pretrained=written / 'best.safetensors', num_classes=5)


def test_the_configuration_of_a_run_loads_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        cfg = ic.get_config(WRITTEN / 'run' / 'config.yaml')
    assert cfg == read_checkpoint(WRITTEN / 'run' / 'best.safetensors').cfg


def test_a_yaml_of_paddlevit_loads_with_one_warning():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        cfg = ic.get_config(WRITTEN / 'paddlevit.yaml')
    assert len(caught) == 1 and 'MODEL.MF.LITE_BNECK.STRIED' in str(caught[0].message)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert cfg == ic.get_config(None, flat(EXPECTED['paddlevit']))


def flat(tree, prefix=''):
    """{'A': {'B': 1}} -> {'A.B': 1}, without BASE"""
    found = {}
    for key, value in tree.items():
        if key != 'BASE':
            found.update(flat(value, f'{prefix}{key}.') if isinstance(value, dict) else {f'{prefix}{key}': value})
    return found


def test_the_description_of_an_export_says_what_the_configuration_does():
    description = yaml.safe_load((WRITTEN / 'run' / 'export' / 'inference.yaml').read_text(encoding='utf-8'))
    cfg = read_checkpoint(WRITTEN / 'run' / 'best.safetensors').cfg
    assert ic.get_config(None, flat({'MODEL': description['model']})).MODEL == cfg.MODEL
