"""The experiments below configs/: every recipe has the figures that its source prints, and every file is thin."""
import math

import paddle
import pytest

import image_classification as ic
from image_classification.config import CONFIGS, get_config
from image_classification.datasets import Mixup
from image_classification.engine.command_line import FINETUNE, SCRATCH
from image_classification.engine.processes.distributed import Group
from image_classification.engine.schedule import check_schedule, learning_rate
from image_classification.engine.trainer import train_or_evaluate

BASES = sorted((CONFIGS / '_base_').glob('*.yaml'))
EXPERIMENTS = sorted(path for path in CONFIGS.rglob('*.yaml') if path.parent.name != '_base_')
IMAGENET = sorted(path.stem for path in CONFIGS.glob('*.yaml'))
FASHION = sorted(path.stem for path in (CONFIGS / 'fashion_mnist').glob('*.yaml'))
PADDLECLAS, TORCHVISION = {'cards': 4, 'decay_all': True}, {'cards': 8, 'decay_all': True}

# Per recipe: what its source prints. `total` is the batch of all cards, `rate` the peak rate at that batch.
MOBILEFORMER = {'epochs': 450, 'optimizer': 'adamw', 'total': 1024, 'warmup': 3, 'smoothing': 0.1}     # AAboys/MobileFormer
EDGENEXT = {'epochs': 300, 'optimizer': 'adamw', 'rate': 6e-3, 'decay': 0.05, 'total': 4096, 'warmup': 20, 'end': 1e-6,
            'ema': 0.9995, 'mixup': (0.0, 0.0), 'scales': [160, 320], 'erase': 0.0}                    # mmaaz60/EdgeNeXt
UNIFORMER = {'epochs': 300, 'optimizer': 'adamw', 'rate': 1e-3, 'decay': 0.05, 'total': 1024, 'warmup': 5, 'end': 1e-5,
             'mixup': (0.8, 1.0), 'erase': 0.25, 'copies': 3, 'ema': 0.99996, 'increasing': True}      # Sense-X/UniFormer
LIGHT = {**UNIFORMER, 'epochs': 600, 'total': 4096, 'warmup': 30, 'copies': 0, 'ema': 0.9999}          # its exp_light
EFFICIENTVIT = {**UNIFORMER, 'rate': 4e-3, 'decay': 0.025, 'total': 2048, 'clip': ('agc', 0.02)}       # microsoft/Cream
MOBILENET_V3 = {'epochs': 600, 'optimizer': 'rmsprop', 'rate': 0.064, 'decay': 1e-5, 'total': 1024, 'schedule': 'step',
                'policy': 'original', 'erase': 0.2, 'smoothing': 0.0, **TORCHVISION}                   # pytorch/vision#3354
SHUFFLENET = {'epochs': 240, 'optimizer': 'sgd', 'rate': 0.5, 'decay': 4e-5, 'total': 1024, 'schedule': 'poly', 'end': 0.0,
              'smoothing': 0.1, 'decay_all': False}                                          # megvii-model/ShuffleNet-Series
TRIVIAL = {'epochs': 600, 'optimizer': 'sgd', 'rate': 0.5, 'decay': 2e-5, 'total': 1024, 'warmup': 5, 'policy': 'trivial',
           'mixup': (0.2, 1.0), 'erase': 0.1, 'copies': 4, 'size': 176, 'decay_all': False}            # pytorch/vision#5906
INCEPTION = {'epochs': 100, 'optimizer': 'rmsprop', 'rate': 0.045, 'schedule': 'step', 'clip': ('norm', 2.0), 'cards': 32,
             'total': 1600, 'smoothing': 0.1, 'ema': 0.9999}                             # arXiv 1512.00567, tensorflow/models
PUBLISHED = {
    'mobileformer_26m': {**MOBILEFORMER, 'rate': 8e-4, 'decay': 0.08, 'mixup': (0.2, 0.0), 'erase': 0.0, 'dropout': 0.1},
    'mobileformer_52m': {**MOBILEFORMER, 'rate': 8e-4, 'decay': 0.10, 'mixup': (0.2, 0.0), 'erase': 0.0, 'rand': False},
    'mobileformer_96m': {**MOBILEFORMER, 'rate': 8e-4, 'decay': 0.10, 'mixup': (0.0, 0.0), 'erase': 0.0, 'rand': True},
    'mobileformer_151m': {**MOBILEFORMER, 'rate': 9e-4, 'decay': 0.10, 'mixup': (0.2, 0.0), 'erase': 0.2, 'dropout': 0.2},
    'mobileformer_214m': {**MOBILEFORMER, 'rate': 9e-4, 'decay': 0.15, 'mixup': (0.2, 0.0), 'erase': 0.2, 'dropout': 0.2},
    'mobileformer_294m': {**MOBILEFORMER, 'rate': 1e-3, 'decay': 0.20, 'mixup': (0.2, 0.0), 'erase': 0.2, 'dropout': 0.3},
    'mobileformer_508m': {**MOBILEFORMER, 'rate': 1e-3, 'decay': 0.20, 'mixup': (0.2, 0.0), 'erase': 0.2, 'dropout': 0.3},
    'mobileformer_official_26m': {**MOBILEFORMER, 'rate': 8e-4, 'decay': 0.08, 'erase': 0.0, 'dropout': 0.1},
    'mobileformer_official_294m': {**MOBILEFORMER, 'rate': 1e-3, 'decay': 0.20, 'erase': 0.2, 'dropout': 0.3},
    'edgenext_xx_small': {**EDGENEXT, 'rand': False, 'droppath': 0.0},
    'edgenext_x_small': {**EDGENEXT, 'rand': False, 'droppath': 0.0},
    'edgenext_small': {**EDGENEXT, 'rand': True, 'increasing': True, 'droppath': 0.1},
    'uniformer_small': {**UNIFORMER, 'droppath': 0.1},
    'uniformer_small_plus': {**UNIFORMER, 'droppath': 0.1},
    'uniformer_base': {**UNIFORMER, 'rate': 8e-4, 'droppath': 0.3},
    'uniformer_xs': {**LIGHT, 'rate': 4e-3, 'droppath': 0.1},
    'uniformer_xxs': {**LIGHT, 'rate': 3.2e-3, 'decay': 0.1, 'droppath': 0.0, 'rand': False, 'policy': 'v0'},
    'efficientvit_m0': EFFICIENTVIT, 'efficientvit_m2': EFFICIENTVIT, 'efficientvit_m5': EFFICIENTVIT,
    'mobilenet_v1_x1_0': {'epochs': 120, 'optimizer': 'sgd', 'rate': 0.1, 'decay': 3e-5, 'total': 256, 'schedule': 'step',
                          'smoothing': 0.0, **PADDLECLAS},
    'mobilenet_v2_x1_0': {'epochs': 300, 'optimizer': 'sgd', 'rate': 0.045, 'decay': 4e-5, 'total': 256, 'schedule': 'step',
                          'smoothing': 0.0, **TORCHVISION},
    'mobilenet_v3_large_x1_0': MOBILENET_V3, 'mobilenet_v3_small_x1_0': MOBILENET_V3,
    'mobilenext_x1_0': {'epochs': 200, 'optimizer': 'sgd', 'rate': 0.1, 'decay': 1e-4, 'total': 512, 'cards': 4,
                        'smoothing': 0.1},
    'shufflenet_v1_g3_x0_5': SHUFFLENET, 'shufflenet_v1_g3_x1_0': SHUFFLENET,
    'shufflenet_v2_x0_5': SHUFFLENET, 'shufflenet_v2_x1_0': SHUFFLENET,
    'shufflenet_v2_x1_5': TRIVIAL, 'shufflenet_v2_x2_0': TRIVIAL,
    'googlenet': {'epochs': 200, 'optimizer': 'sgd', 'rate': 0.01, 'decay': 1e-4, 'total': 256, 'warmup': 5, 'aux': 0.3,
                  **PADDLECLAS},
    'inception_v2': INCEPTION, 'inception_v3': {**INCEPTION, 'aux': 0.4, 'dropout': 0.2},
    'inception_resnet_v2': {**INCEPTION, 'epochs': 160, 'total': 640, 'cards': 20},
    'inception_v4': {'epochs': 200, 'optimizer': 'sgd', 'rate': 0.045, 'decay': 1e-4, 'total': 256, 'mixup': (0.2, 0.0),
                     'smoothing': 0.1, **PADDLECLAS},
    'xception': {'optimizer': 'sgd', 'rate': 0.045, 'decay': 1e-5, 'schedule': 'step', 'dropout': 0.5, 'total': 256},
    'ic_resnet50': {'epochs': 90, 'optimizer': 'sgd', 'rate': 0.1, 'decay': 1e-4, 'total': 256, 'schedule': 'step',
                    **TORCHVISION},
}


def figures(cfg, cards):
    """The figures of PUBLISHED that a configuration has on so many cards."""
    train = cfg.TRAIN
    return {'epochs': train.NUM_EPOCHS, 'optimizer': train.OPTIMIZER.NAME.lower(), 'rate': train.BASE_LR,
            'decay': train.WEIGHT_DECAY, 'total': cfg.DATA.BATCH_SIZE * train.ACCUM_ITER * cards, 'cards': cards,
            'warmup': train.WARMUP_EPOCHS, 'schedule': train.LR_SCHEDULE, 'end': train.END_LR, 'smoothing': train.SMOOTHING,
            'mixup': (train.MIXUP_ALPHA, train.CUTMIX_ALPHA), 'erase': train.RANDOM_ERASE_PROB, 'rand': train.RAND_AUGMENT,
            'increasing': train.RAND_AUGMENT_INCREASING, 'policy': train.AUTO_AUGMENT, 'copies': train.REPEATED_AUG,
            'ema': train.MODEL_EMA * train.MODEL_EMA_DECAY, 'scales': train.MULTI_SCALE, 'size': train.IMAGE_SIZE,
            'clip': (train.GRAD_CLIP_MODE, train.GRAD_CLIP), 'aux': train.AUX_LOSS_WEIGHT, 'decay_all': not train.NO_DECAY_1D,
            'dropout': cfg.MODEL.DROPOUT, 'droppath': cfg.MODEL.DROPPATH}


def name_of(path):
    return str(path.relative_to(CONFIGS))


@pytest.mark.parametrize('name', sorted(PUBLISHED))
def test_a_recipe_has_the_figures_that_its_source_prints(name):
    published = PUBLISHED[name]
    cfg = get_config(CONFIGS / f'{name}.yaml')
    found = figures(cfg, published.get('cards', 8))
    assert {key: found[key] for key in published} == published
    assert cfg.TRAIN.LINEAR_SCALED_LR == found['total']            # on these cards the printed rate is the rate


def test_every_published_recipe_is_an_experiment():
    assert set(PUBLISHED) <= set(IMAGENET)


@pytest.mark.parametrize('path', EXPERIMENTS, ids=name_of)
def test_an_experiment_is_a_model_and_keys_that_the_trainer_takes(path):
    cfg = get_config(path)
    assert cfg.is_frozen() and cfg.MODEL.NAME == path.stem and cfg.MODEL.NAME in ic.list_models()
    assert path.parent == CONFIGS or cfg.DATA.DATASET == path.parent.name
    check_schedule(cfg.TRAIN)
    Mixup.from_config(cfg)


@pytest.mark.parametrize('path', EXPERIMENTS, ids=name_of)
def test_an_experiment_opens_with_what_it_should_reach_and_its_command(path):
    first, second, *_ = path.read_text().splitlines()
    assert first.startswith('# ') and any(word in first for word in ('ImageNet-1K', 'MNIST', 'CIFAR', 'digits'))
    assert path.parent != CONFIGS or '%' in first
    assert second.startswith('# python image_classification/main_') and f'-cfg configs/{name_of(path)}' in second


@pytest.mark.parametrize('path', [*BASES, *EXPERIMENTS], ids=name_of)
def test_every_file_is_thin(path):
    lines = path.read_text().splitlines()
    assert len(lines) <= 25 and max(map(len, lines)) <= 128
    assert path in BASES or sum(not line.lstrip().startswith('#') for line in lines) <= 18


def test_every_base_serves_an_experiment_or_folders():
    texts = [path.read_text() for path in [*BASES, *EXPERIMENTS]] + [str(FINETUNE), str(SCRATCH)]
    assert [path.name for path in BASES if not any(path.name in text for text in texts)] == []


@pytest.mark.parametrize('path', [FINETUNE, SCRATCH])
def test_a_recipe_for_folders_has_a_rate_that_learns_in_a_short_run(path):
    cfg = get_config('mobilenet_v3_small_x1_0', {'DATA.IMAGE_SIZE': 96}, path)
    assert cfg.DATA.DATASET == 'folder' and cfg.DATA.IMAGE_SIZE == 96 and cfg.MODEL.NAME == 'mobilenet_v3_small_x1_0'
    assert not cfg.TRAIN.LINEAR_SCALED_LR and cfg.TRAIN.BASE_LR >= 1e-4 and cfg.DATA.BATCH_SIZE <= 32
    assert cfg.TRAIN.NUM_EPOCHS <= 60 and cfg.TRAIN.WARMUP_EPOCHS <= cfg.TRAIN.NUM_EPOCHS / 10


@pytest.mark.parametrize('name, epoch, rate', [
    ('mobilenet_v1_x1_0', 29, 0.1), ('mobilenet_v1_x1_0', 30, 0.01), ('mobilenet_v1_x1_0', 90, 1e-4),
    ('mobilenet_v2_x1_0', 1, 0.045 * 0.98), ('mobilenet_v3_large_x1_0', 4, 0.064 * 0.973 ** 2),
    ('inception_v3', 99, 0.045 * 0.94 ** 49), ('shufflenet_v1_g3_x1_0', 120, 0.25), ('ic_resnet50', 60, 0.001),
    ('edgenext_small', 20, 6e-3), ('uniformer_xxs', 15, (3.2e-3 + 1e-6) / 2), ('shufflenet_v2_x1_5', 0, 0.005)])
def test_the_rate_falls_as_the_source_says(name, epoch, rate):
    train = get_config(CONFIGS / f'{name}.yaml').TRAIN
    assert learning_rate(epoch * 1000, 1000, train) == pytest.approx(rate, rel=1e-3)


@pytest.mark.parametrize('dataset, size, classes, mixup', [('mnist', 48, 10, 0.0), ('cifar10', 64, 10, 0.8),
                                                         ('cifar100', 64, 100, 0.8)])
def test_the_tutorials_experiments_are_as_it_describes_them(dataset, size, classes, mixup):
    cfg = get_config(CONFIGS / 'tutorial' / dataset / 'mobileformer_26m.yaml')
    assert (cfg.DATA.IMAGE_SIZE, cfg.DATA.BATCH_SIZE, cfg.MODEL.NUM_CLASSES) == (size, 256, classes)
    assert cfg.MODEL.MF.LITE_BNECK.STRIDE == 1 and cfg.TRAIN.MIXUP_ALPHA == mixup
    assert {cfg.MODEL[key] for key in ('DROPOUT', 'DROPPATH', 'ATTENTION_DROPOUT', 'MLP_DROPOUT')} == {0.1}
    assert cfg.TRAIN.LINEAR_SCALED_LR == 4 * cfg.DATA.BATCH_SIZE   # cards


@pytest.mark.parametrize('name', FASHION)
def test_a_network_takes_the_sizes_of_its_fashion_mnist_experiment(name):
    cfg = get_config(CONFIGS / 'fashion_mnist' / f'{name}.yaml')
    network = ic.create_model(cfg)
    for side in {*cfg.TRAIN.PROGRESSIVE_SIZES, cfg.DATA.IMAGE_SIZE}:
        with paddle.no_grad():
            assert network(paddle.randn([2, 3, side, side])).shape == [2, 10]


@pytest.mark.parametrize('name, size, options', [
    ('mobilenet_v3_small_x1_0', 32, {}), ('shufflenet_v2_x1_5', 32, {'TRAIN.IMAGE_SIZE': 24}),
    ('edgenext_xx_small', 64, {'TRAIN.MULTI_SCALE': [32, 64]}), pytest.param('efficientvit_m0', 64, {}, marks=pytest.mark.slow),
    *(pytest.param(name, size, {}, marks=pytest.mark.slow) for name, size in (
        ('mobilenet_v1_x1_0', 32), ('shufflenet_v1_g3_x0_5', 32), ('uniformer_xxs', 32), ('googlenet', 32),
        ('inception_v3', 75)))])
def test_the_trainer_runs_a_recipe(name, size, options, colours, tmp_path):
    cfg = get_config(CONFIGS / f'{name}.yaml', {
        'DATA.DATASET': 'folder', 'DATA.DATA_PATH': str(colours), 'DATA.IMAGE_SIZE': size, 'DATA.BATCH_SIZE': 4,
        'DATA.NUM_WORKERS': 0, 'MODEL.NUM_CLASSES': 2, 'TRAIN.MAX_STEPS': 2, 'TRAIN.PRECISE_BN': False, 'EXPORT': False,
        'SAVE': str(tmp_path), **options})
    metrics = train_or_evaluate(cfg, Group())
    assert metrics['images'] == 10 and math.isfinite(metrics['loss'])
