"""Static quantisation of an ONNX export to 8 bits, by ONNX Runtime: `quantize_export` writes nothing that it has not compared.

Weights become int8 with a scale per output channel, the inputs of layers uint8 with a scale that pictures calibrate. What is
between the layers (attention, softmax, normalization, hard swish) stays float32: a softmax of 8 bits ruins a network.
"""
import contextlib
import fnmatch
import json
import logging
import os
import shutil
import statistics
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from image_classification.deploy.engines import onnx_options, read_description
from image_classification.deploy.predictor import Predictor
from image_classification.errors import UserError
from image_classification.files import new_directory

MODEL = 'inference.onnx'
_LAYERS = ('Conv', 'Gemm', 'MatMul')
OPERATORS = (*_LAYERS, 'Relu', 'Clip')                             # the last two become part of the layer before them
METHODS = {'minmax': 'MinMax', 'percentile': 'Percentile', 'entropy': 'Entropy'}
_NEEDS = ('onnx', 'onnxruntime', 'ml_dtypes')
_CALIBRATION_BATCH = 16


def quantize_export(source, target, calibration, images, labels, operators=OPERATORS, exclude=(), method='minmax',
                    min_agreement=0.95, threads=None, bf16=()):
    """Quantise the export `source` and write it as the export `target`, if it still says what it said.

    Args:
        source: a directory with inference.onnx of a classifier.
        target: must not exist yet, or be empty.
        calibration: pictures (whatever Predictor takes) that the scales of the layers' inputs are found with.
        images, labels: pictures to compare with, and the numbers of their classes.
        operators: kinds of ONNX operators to quantise.
        exclude: names of nodes that stay float32, with wildcards.
        method: how a range is found: 'minmax' holds every value, 'percentile' and 'entropy' cut rare ones off.
        min_agreement: the least share of `images` that must get the same first class as before.
        threads: with which the speed is measured.
        bf16: engines of the source to compare in bfloat16, too.
    Returns:
        {'rows': one dict per engine and precision (top1, agreement, bytes, ms), 'layers': [(node, signal to noise in dB)]},
        the layer that loses most first.
    Raises:
        UserError: no such export, a missing package, nothing to quantise, or a result that does not agree enough; nothing is
            written then.
    """
    _check(source, calibration, images, labels, method)
    before = Predictor(source, 'onnxruntime', threads=threads)
    # Of one size, or the methods that count values fail.
    size = max(size for size in range(1, _CALIBRATION_BATCH + 1) if len(calibration) % size == 0)
    inputs = [np.stack([before.prepare(image) for image in calibration[start:start + size]])
              for start in range(0, len(calibration), size)]
    with new_directory(target, 'export') as ready:
        shutil.copy(Path(source) / 'inference.yaml', ready)        # until there is more to say
        names = quantize_onnx(Path(source) / MODEL, ready / MODEL, inputs, operators, exclude, method)
        after = Predictor(ready, 'onnxruntime', threads=threads)
        rows = compare([('float32', source, before), ('int8', ready, after), *_in_bf16(source, bf16, threads)], images, labels)
        agreement = rows[1]['agreement']
        layers = layer_losses(Path(source) / MODEL, ready / MODEL, inputs[0])
        if not agreement >= min_agreement:
            worst = ', '.join(f'{name} ({loss:.0f} dB)' for name, loss in layers[:3])
            raise UserError(f'quantised, {100 * agreement:.1f} % of {len(images)} images get the class that they had; wanted at '
                            f'least {100 * min_agreement:.1f} %. Nothing was written. Exclude the layers that lose most: {worst}, '
                            'calibrate with more images, or try --method percentile.')
        _describe(ready, source, {
            'weights': 'int8 per channel', 'activations': 'uint8', 'operators': list(operators), 'layers': len(names),
            'excluded': sorted(exclude), 'method': method, 'calibration_images': len(calibration), 'compared_images': len(images),
            'agreement': round(agreement, 4), 'top1': {row['precision']: round(row['top1'], 2) for row in rows[:2]}})
        rows[1]['bytes'] = (ready / MODEL).stat().st_size          # with the description in it
    return {'rows': rows, 'layers': layers}


def _check(source, calibration, images, labels, method):
    missing = [package for package in _NEEDS if not find_spec(package)]
    if missing:
        raise UserError(f'quantisation needs {", ".join(missing)}, which is not installed: pip install '
                        "'paddle-mobile-backbones[onnx]'")
    if not (Path(source) / MODEL).is_file():
        raise UserError(f'{source} has no {MODEL}; wanted an export by tools/export.py --format onnx')
    if 'quantization' in read_description(source):
        raise UserError(f'{source} is quantised already; wanted the export that it was made of')
    if not len(calibration) or not len(images) or len(images) != len(labels):
        raise UserError(f'{len(calibration)} images to calibrate with, {len(images)} images and {len(labels)} labels to compare '
                        'with; wanted at least one of each, and a label per image')
    if method not in METHODS:
        raise UserError(f'the calibration method is {method!r}; wanted one of {", ".join(METHODS)}')


def quantize_onnx(source, target, inputs, operators, exclude, method):
    """Write the quantised form of one ONNX file as another one; the names of the nodes that are quantised.

    Args:
        inputs: a list of batches as the network takes them.
    Raises:
        UserError: no node is of these operators and not excluded, or an exclusion that matches none.
    """
    import onnx
    from onnxruntime import quantization
    model = onnx.load(str(source))
    for i, node in enumerate(model.graph.node):
        node.name = node.name or f'{node.op_type}_{i}'
    _matrices_to_convolutions(model)
    products = _products(model.graph)
    names = [node.name for node in model.graph.node if node.op_type in operators and node.name not in products]
    for pattern in exclude:
        if not fnmatch.filter(names, pattern):
            raise UserError(f'no {", ".join(operators)} is called {pattern!r}; wanted one of {", ".join(names[:5])}, ...')
    excluded = [name for name in names if any(fnmatch.fnmatchcase(name, pattern) for pattern in exclude)]
    kept = [name for name in names if name not in excluded]
    if not kept:
        raise UserError(f'the network has no {", ".join(operators)} with weights to quantise' + ' that is not excluded' * bool(excluded))
    arguments = {'op_types_to_quantize': list(operators), 'nodes_to_exclude': [*excluded, *products], 'per_channel': True,
                 'activation_type': quantization.QuantType.QUInt8, 'weight_type': quantization.QuantType.QInt8,
                 'calibrate_method': quantization.CalibrationMethod[METHODS[method]]}
    reader = _Reader(model.graph.input[0].name, inputs)
    try:
        with _quiet(), open(os.devnull, 'w') as nowhere, contextlib.redirect_stdout(nowhere):
            quantization.quantize_static(model, str(target), reader, **arguments)
    except Exception as error:                                     # of the calibration's session, or of a graph it cannot take
        raise UserError(f'ONNX Runtime cannot quantise {source}: {" ".join(str(error).split())[:300]}') from error
    return kept


def _matrices_to_convolutions(model):
    """Turn W @ x with a matrix of weights (N, K) and x (B, K, L) into the convolution of width 1 that it is: ONNX Runtime has no
    scale per output channel for weights on the left."""
    import onnx
    graph = onnx.shape_inference.infer_shapes(model).graph
    ranks = {item.name: len(item.type.tensor_type.shape.dim) for item in graph.value_info if item.type.tensor_type.HasField('shape')}
    weights = {item.name: item for item in model.graph.initializer if len(item.dims) == 2}
    for node in model.graph.node:
        if node.op_type != 'MatMul' or node.input[0] not in weights or ranks.get(node.input[1]) != 3:
            continue
        kernel = onnx.TensorProto()
        kernel.CopyFrom(weights[node.input[0]])
        kernel.name = f'{node.name}/weight'
        kernel.dims.append(1)
        model.graph.initializer.append(kernel)
        node.op_type, node.input[:] = 'Conv', [node.input[1], kernel.name]
        node.attribute.append(onnx.helper.make_attribute('kernel_shape', [1]))
    used = {name for node in model.graph.node for name in node.input}
    for name in set(weights) - used:
        model.graph.initializer.remove(weights[name])


def _products(graph):
    """Names of the MatMuls without a matrix of weights. Those of attention have a softmax between them, which ONNX Runtime then
    computes in 8 bits, too: MobileFormer would lose a third of its answers."""
    matrices = {item.name for item in graph.initializer if len(item.dims) == 2}
    return [node.name for node in graph.node if node.op_type == 'MatMul' and node.input[1] not in matrices]


class _Reader:
    """Batches in the form that ONNX Runtime asks for them."""

    def __init__(self, name, inputs):
        self._feeds = iter([{name: batch} for batch in inputs])

    def get_next(self):
        return next(self._feeds, None)


@contextlib.contextmanager
def _quiet():
    """Without the advice to pre-process the graph, which the export has done."""
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


def compare(predictors, images, labels, sizes=(1, 8), rounds=20):
    """One row per (precision, directory, predictor): top1 in percent, agreement with the first one (0 to 1), bytes of its files,
    and ms, the median milliseconds per batch size; the predictors take turns, so that what else the machine does hits all."""
    rows, first = [], None
    for precision, directory, predictor in predictors:
        found = predictor.predict(images).argmax(1)
        first = found if first is None else first
        files = [path for path in Path(directory).iterdir() if path.suffix in _FILES[predictor.engine]]
        rows.append({'engine': predictor.engine, 'precision': precision, 'top1': 100 * float((found == labels).mean()),
                     'agreement': float((found == first).mean()), 'bytes': sum(path.stat().st_size for path in files), 'ms': {}})
    sample = predictors[0][2].prepare(images[0])
    for size in sizes:
        batch, times = np.stack([sample] * size), [[] for _ in rows]
        for turn in range((rounds + 2) * len(rows)):
            i = (turn + turn // len(rows)) % len(rows)             # another one first each time: the scheduler has a rhythm, too
            start = time.perf_counter()
            predictors[i][2].probabilities(batch)
            if turn >= 2 * len(rows):                              # warm
                times[i].append(1000 * (time.perf_counter() - start))
        for row, own in zip(rows, times):
            row['ms'][size] = statistics.median(own)
    return rows


_FILES = {'onnxruntime': ('.onnx',), 'openvino': ('.xml', '.bin'), 'paddle_inference': ('.json', '.pdmodel', '.pdiparams')}


def _in_bf16(source, engines, threads):
    """(precision, directory, predictor) of the source in bfloat16, by the engines that it has files for."""
    return [('bfloat16', source, Predictor(source, engine, threads=threads, bf16=True)) for engine in engines]


def _describe(directory, source, quantization):
    """inference.yaml and the ONNX metadata of the result: what the source says, with what was done to it."""
    import onnx
    import yaml
    description = read_description(source)
    for key in ('differences', 'engines'):                         # they are the float export's
        description.pop(key, None)
    description['quantization'] = quantization
    text = yaml.safe_dump(description, allow_unicode=True, sort_keys=False, default_flow_style=None, width=120)
    (directory / 'inference.yaml').write_text(text, encoding='utf-8')
    model = onnx.load(str(directory / MODEL))
    model.metadata_props.add(key='quantization', value=json.dumps(quantization))
    onnx.save(model, str(directory / MODEL))


def layer_losses(source, quantized, batch):
    """[(name of a node, dB)] of all quantised layers, the smallest signal-to-noise ratio first.

    The noise is what each layer alone adds: its float output, less its output with input, weights and output rounded to 8 bits,
    for the float network's input. That takes one run of a graph in which every layer stands twice.
    """
    import onnx
    import onnxruntime
    model, rounded = onnx.load(str(source)), onnx.load(str(quantized))
    for i, node in enumerate(model.graph.node):
        node.name = node.name or f'{node.op_type}_{i}'
    by_name = {node.name: node for node in model.graph.node}
    makers = {output: node for node in rounded.graph.node for output in node.output}
    roundings = {node.input[0]: node for node in rounded.graph.node if node.op_type == 'QuantizeLinear'}
    known = {output for node in model.graph.node for output in node.output}
    graph, names = model.graph, []
    graph.initializer.extend(item for item in rounded.graph.initializer
                             if item.name not in {known.name for known in graph.initializer})
    for node in rounded.graph.node:
        if node.op_type in _LAYERS and node.name in by_name and any(_is_rounded(name, makers) for name in node.input):
            output = _add_twin(graph, node, makers, roundings)
            # The output bears the name of the activation that became part of the layer, if any.
            exact = node.output[0] if node.output[0] in known else by_name[node.name].output[0]
            _add_energies(graph, node.name, exact, output)
            names.append(node.name)
    del graph.output[:]
    for name in names:
        for kind in ('signal', 'noise'):
            graph.output.append(onnx.helper.make_tensor_value_info(f'{name}/{kind}', onnx.TensorProto.FLOAT, []))
    with tempfile.TemporaryDirectory() as scratch:                 # a file: large models do not fit into one message
        onnx.save(model, f'{scratch}/twins.onnx')
        options = onnx_options()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL    # or QDQ pairs become kernels
        session = onnxruntime.InferenceSession(f'{scratch}/twins.onnx', options, providers=['CPUExecutionProvider'])
        energies = session.run(None, {session.get_inputs()[0].name: batch})
    ratios = [10 * np.log10(max(signal, 1e-30) / max(noise, 1e-30)) for signal, noise in zip(energies[::2], energies[1::2])]
    return sorted(((name, float(ratio)) for name, ratio in zip(names, ratios)), key=lambda pair: pair[1])


def _is_rounded(name, makers):
    return name in makers and makers[name].op_type == 'DequantizeLinear'


def _add_twin(graph, rounded, makers, roundings):
    """Add to a float graph the layer `rounded` with its roundings, fed by the float graph; the name of its output."""
    prefix = rounded.name + '/twin'
    twin = _copy(rounded, prefix, f'{prefix}/output')
    for i, name in enumerate(rounded.input):
        if not _is_rounded(name, makers):
            continue
        restore = _copy(makers[name], f'{prefix}/{i}', f'{prefix}/{i}/restored')
        if restore.input[0] in makers:                             # an activation; a weight is rounded in the file
            graph.node.append(_copy(makers[restore.input[0]], f'{prefix}/{i}/round', f'{prefix}/{i}/rounded'))
            restore.input[0] = f'{prefix}/{i}/rounded'
        graph.node.append(restore)
        twin.input[i] = restore.output[0]
    graph.node.append(twin)
    if rounded.output[0] not in roundings:
        return twin.output[0]
    rounding = _copy(roundings[rounded.output[0]], f'{prefix}/round', f'{prefix}/rounded')
    rounding.input[0] = twin.output[0]
    restore = _copy(rounding, f'{prefix}/restore', f'{prefix}/restored')
    restore.op_type, restore.input[0] = 'DequantizeLinear', rounding.output[0]
    graph.node.extend([rounding, restore])
    return restore.output[0]


def _copy(node, name, output):
    """A copy of a node with another name, of its output, too."""
    copy = type(node)()
    copy.CopyFrom(node)
    copy.name, copy.output[0] = name, output
    return copy


def _add_energies(graph, name, exact, found):
    """Add the sums of squares of a tensor and of its difference from another one as <name>/signal and <name>/noise."""
    from onnx.helper import make_node
    graph.node.extend([make_node('Sub', [exact, found], [f'{name}/difference']),
                       make_node('ReduceSumSquare', [exact], [f'{name}/signal'], keepdims=0),
                       make_node('ReduceSumSquare', [f'{name}/difference'], [f'{name}/noise'], keepdims=0)])
