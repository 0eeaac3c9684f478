"""Compare the networks of paddle.vision and PaddleClas with ours, with random weights and the statistics of their own maps:

    git clone https://github.com/PaddlePaddle/PaddleClas
    python tools/maintenance/compare_paddle.py --paddleclas PaddleClas [PATTERN ...]

Their network is saved with paddle.save and loaded here as a user would. The largest difference of the float32 logits is
printed, in standard deviations of theirs. Then our weights are converted to their style and loaded into their network, which
must give the same logits as before. Last come the networks that must be refused. Without --paddleclas only paddle.vision is
compared. The command exits with 1 if anything differs. With --record it only writes their keys and shapes for
tests/test_published.py.
"""
import argparse
import fnmatch
import gzip
import importlib
import json
import sys
import tempfile
import types
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import command_setup  # noqa: F401, E402  (first: before Paddle is imported)

import numpy as np  # noqa: E402
import paddle  # noqa: E402
import paddle.nn.functional as F  # noqa: E402
from paddle import nn  # noqa: E402
from paddle.vision import models as vision  # noqa: E402

import image_classification as ic  # noqa: E402
from image_classification.errors import UserError, exit_with_message  # noqa: E402
from image_classification.weights import to_torch  # noqa: E402

WIDEST = 1e-4                                                      # largest allowed difference / deviation of the logits
KEYS = Path(__file__).resolve().parents[2] / 'tests' / 'data' / 'published_keys'
SOURCES = {'paddleclas': 'PaddleClas', 'paddle_vision': 'paddle.vision'}
ZOO, LEGENDARY = 'model_zoo', 'legendary_models'
WIDTHS = {'0_25': 0.25, '0_35': 0.35, '0_5': 0.5, '0_75': 0.75, '1_0': 1.0, '1_25': 1.25, '1_5': 1.5, '2_0': 2.0}
# (our variant, keywords for it, function that makes theirs). Keywords give widths that have no yaml here.
VISION = [*[(f'mobilenet_v1_x{width}', {}, lambda width=width: vision.MobileNetV1(WIDTHS[width]))
            for width in ('0_25', '0_5', '0_75', '1_0')],
          ('mobilenet_v2_x1_0', {}, vision.MobileNetV2),
          ('mobilenet_v3_small_x1_0', {}, vision.MobileNetV3Small), ('mobilenet_v3_large_x1_0', {}, vision.MobileNetV3Large),
          *[(f'shufflenet_v2_x{width}', {}, lambda width=width: vision.ShuffleNetV2(WIDTHS[width]))
            for width in ('0_5', '1_0', '1_5')],
          ('inception_v3', {}, vision.InceptionV3)]


def of_paddleclas(root):
    """Rows like VISION for PaddleClas's code in `root`, and the networks to refuse. Only the modules of these networks run."""
    def maker(folder, module, name):
        def make():
            function = getattr(importlib.import_module(f'ppcls.arch.backbone.{folder}.{module}'), name)
            with paddle.utils.unique_name.guard():                 # their parameters have fixed names, allowed only once
                return function(pretrained=False)
        return make

    _pretend_packages(Path(root))
    rows = []
    for width in ('0_25', '0_5', '0_75', '1_0'):
        rows.append((f'mobilenet_v1_x{width}', {}, maker(LEGENDARY, 'mobilenet_v1', _theirs('MobileNetV1', width))))
    for width in ('0_25', '0_5', '0_75', '1_0', '1_5', '2_0'):
        rows.append((*_ours('mobilenet_v2', width), maker(ZOO, 'mobilenet_v2', _theirs('MobileNetV2', width))))
    for arch in ('small', 'large'):
        for width in ('0_35', '0_5', '0_75', '1_0', '1_25'):
            name = f'MobileNetV3_{arch}_x{width}'
            rows.append((*_ours(f'mobilenet_v3_{arch}', width), maker(LEGENDARY, 'mobilenet_v3', name)))
    for width in ('0_5', '1_0', '1_5', '2_0'):
        rows.append((f'shufflenet_v2_x{width}', {}, maker(ZOO, 'shufflenet_v2', f'ShuffleNetV2_x{width}')))
    for size in ('small', 'small_plus', 'small_plus_dim64', 'base', 'base_ls'):
        rows.append((f'uniformer_{size}', {}, maker(ZOO, 'uniformer', f'UniFormer_{size}')))
    for width in ('0_25', '0_35', '0_5', '0_75', '1_0', '1_5', '2_0', '2_5'):
        rows.append((f'lcnet_x{width}', {}, maker(LEGENDARY, 'pp_lcnet', f'PPLCNet_x{width}')))
    for size in range(4):
        rows.append((f'hgnet_v2_b{size}', {}, maker(LEGENDARY, 'pp_hgnet_v2', f'PPHGNetV2_B{size}')))
    for width in ('0_5', '1_0', '1_3'):
        rows.append((f'ghostnet_v1_x{width}', {}, maker(ZOO, 'ghostnet', f'GhostNet_x{width}')))
    rows.append(('inception_v3', {}, maker(LEGENDARY, 'inception_v3', 'InceptionV3')))
    refused = [('googlenet', maker(ZOO, 'googlenet', 'GoogLeNet')), ('inception_v4', maker(ZOO, 'inception_v4', 'InceptionV4')),
               ('xception', maker(ZOO, 'xception', 'Xception41')),
               ('xception', maker(ZOO, 'xception_deeplab', 'Xception41_deeplab'))]
    return rows, refused


def _theirs(name, width):
    return name if width == '1_0' else f'{name}_x{width}'


def _ours(name, width):
    """(our variant, keywords for it)."""
    known = f'{name}_x{width}'
    return (known, {}) if known in ic.list_models() else (f'{name}_x1_0', {'width': WIDTHS[width]})


def _pretend_packages(root):
    """Make `ppcls.arch.backbone...` importable without the packages' own code, which needs more dependencies."""
    folder = root / 'ppcls'
    if not (folder / 'arch' / 'backbone').is_dir():
        raise UserError(f'{root} is no clone of PaddleClas: it has no ppcls/arch/backbone')
    for name in ('', '.arch', '.arch.backbone', '.arch.backbone.base', '.arch.backbone.model_zoo',
                 '.arch.backbone.legendary_models', '.utils'):
        package = types.ModuleType(f'ppcls{name}')
        package.__path__ = [str(folder.joinpath(*name.split('.')[1:]))]
        sys.modules[package.__name__] = package
    for name, content in (('save_load', 'load_dygraph_pretrain'), ('logger', 'warning')):
        module = types.ModuleType(f'ppcls.utils.{name}')
        setattr(module, content, lambda *words: None)
        sys.modules[module.__name__] = module
        setattr(sys.modules['ppcls.utils'], name, module)


def pictures(side):
    """Two pictures of large patches with some noise. With noise alone, logits of deep networks differ by little but rounding."""
    return F.interpolate(paddle.randn([2, 3, 12, 12]), [side, side], mode='bilinear') + 0.1 * paddle.randn([2, 3, side, side])


def fill(network, image):
    """Set random weights and the batch norm statistics that they give on `image`; leave the network in evaluation mode."""
    for parameter in network.parameters():
        if parameter.ndim == 1 and not parameter.stop_gradient:
            factors = paddle.uniform(parameter.shape, min=0.5, max=2.0)        # so that activations reach 6
            parameter.set_value(parameter * factors + 0.1 * paddle.randn(parameter.shape))

    def take_statistics(layer, inputs):
        axes = [0, 2, 3]
        layer._mean.set_value(inputs[0].mean(axes))
        layer._variance.set_value(inputs[0].var(axes, unbiased=False))

    network.eval()
    norms = [layer for layer in network.sublayers() if isinstance(layer, (nn.BatchNorm, nn.BatchNorm2D))]
    hooks = [layer.register_forward_pre_hook(take_statistics) for layer in norms]
    logits_of(network, image)
    for hook in hooks:
        hook.remove()


def logits_of(network, image):
    with paddle.no_grad():
        return network(image)


def difference(found, wanted):
    return float(abs(found - wanted).max() / wanted.std())


def compare(name, keywords, style, make, folder, side=0):
    """(difference of our logits, difference of theirs after loading our weights), in deviations, on pictures of `side` pixels,
    by default the usual size."""
    paddle.seed(0)
    theirs, side = make(), side or ic.get_config(name).DATA.IMAGE_SIZE
    image, other = pictures(side), pictures(side)
    fill(theirs, image)
    path = folder / f'{style}.pdparams'
    paddle.save(theirs.state_dict(), str(path))
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')                            # about further keys in the file, and auxiliary heads
        ours = ic.create_model(name, pretrained=path, **keywords).eval()
    wanted = logits_of(theirs, other)
    found = difference(logits_of(ours, other), wanted)
    written = to_torch(ours, style)
    assert written.keys() == set(theirs.state_dict()), 'other keys were written'
    theirs.set_state_dict({key: paddle.to_tensor(np.ascontiguousarray(value)) for key, value in written.items()})
    return found, difference(logits_of(theirs, other), wanted)


def record(name, style, make):
    """Write {key: shape} of their network, if our variant lists weights of this publisher."""
    if any(entry['SOURCE'] == SOURCES[style] for entry in ic.get_config(name).PUBLISHED.WEIGHTS):
        shapes = {key: list(tensor.shape) for key, tensor in make().state_dict().items()}
        (KEYS / f'{style}_{name}.json.gz').write_bytes(gzip.compress(json.dumps(shapes).encode(), mtime=0))


def refusal(name, make, folder):
    """The error message for weights of a different network; '' if they are accepted."""
    path = folder / 'refused.pdparams'
    paddle.save(make().state_dict(), str(path))
    try:
        ic.create_model(name, pretrained=path)
    except UserError as error:
        return str(error).replace(str(path), path.name)
    return ''


@exit_with_message
def main(argv=None):
    parser = argparse.ArgumentParser(description='Compare the networks of paddle.vision and of PaddleClas with ours.')
    parser.add_argument('patterns', nargs='*', metavar='PATTERN', default=['*'], help='our variants, e.g. mobilenet_v3_*')
    parser.add_argument('--paddleclas', metavar='DIR', help='a clone of PaddleClas')
    parser.add_argument('--record', action='store_true', help='write keys and shapes instead of comparing')
    args = parser.parse_args(argv)
    rows, refused = of_paddleclas(args.paddleclas) if args.paddleclas else ([], [])
    rows = [(*row, 'paddle_vision') for row in VISION] + [(*row, 'paddleclas') for row in rows]
    rows = [row for row in rows if any(fnmatch.fnmatch(row[0], pattern) for pattern in args.patterns)]
    if args.record:
        for name, keywords, make, style in rows:
            if not keywords:
                record(name, style, make)
        return
    faults = 0
    with tempfile.TemporaryDirectory() as folder:
        for name, keywords, make, style in rows:
            found, back = compare(name, keywords, style, make, Path(folder))
            faults += not max(found, back) < WIDEST
            words = ' '.join(f'{key}={value}' for key, value in keywords.items())
            print(f'{style:14} {name + " " + words:36} loaded {found:.1e}, written back {back:.1e}', flush=True)
        for name, make in [('googlenet', vision.GoogLeNet), *refused]:
            if any(fnmatch.fnmatch(name, pattern) for pattern in args.patterns):
                text = refusal(name, make, Path(folder))
                faults += 'another network' not in text and 'other networks' not in text
                print(f'refused        {name:36} {text or "NOT AT ALL"}')
    if faults:
        raise UserError(f'{faults} of the networks above differ, or were not refused; wanted less than {WIDEST:g} deviations')


if __name__ == '__main__':
    main()
