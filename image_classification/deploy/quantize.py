"""Quantises an export to 8 bits. `quantize_export` compares the result with the float export before it writes it."""
import json
import shutil
import statistics
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from image_classification.config import check
from image_classification.config.bounds import SHARE
from image_classification.deploy.example import write_example
from image_classification.deploy.export_directory import DESCRIPTION, ONNX, ExportDirectory, not_an_export
from image_classification.deploy.formats.onnx_int8 import METHODS, OPERATORS, quantize_onnx, sums_overflow
from image_classification.deploy.layer_losses import layer_losses
from image_classification.deploy.predictor import Predictor
from image_classification.errors import UserError, missing_package
from image_classification.files import new_directory

_NEEDS = ('onnx', 'onnxruntime', 'ml_dtypes')
_CALIBRATION_BATCH = 16


def quantize_export(source, target, calibration, images, labels, operators=OPERATORS, exclude=(), method='minmax',
                    min_agreement=0.95, threads=None, bf16=(), force=False):
    """Quantise the export `source` and write it as the export `target`, if its predictions still agree well enough.

    Args:
        source: an export directory with the inference.onnx of a classifier.
        target: must be empty or not exist yet, unless `force`.
        calibration: pictures (anything that Predictor takes) for finding the scales of the layers' inputs.
        images, labels: pictures for the comparison, and the numbers of their classes.
        operators: kinds of ONNX operators to quantise.
        exclude: names of nodes that stay float32, with wildcards.
        method: how ranges are found: 'minmax' covers every value, 'percentile' and 'entropy' cut off rare ones.
        min_agreement: the smallest share of `images` that must keep their most probable class.
        threads: CPU threads for measuring the speed.
        bf16: engines of the source to compare in bfloat16, too.
        force: replace an earlier export once the new one is ready. Other directories are never replaced.
    Returns:
        {'rows': one dict per engine and precision (top1, agreement, bytes, ms), 'layers': [(node, signal to noise in dB)]},
        with the layer that loses most first.
    Raises:
        UserError: there is no such export, a package is missing, there is nothing to quantise, or the result does not agree
            well enough. Nothing is written then.
    """
    check('min_agreement', min_agreement, SHARE)
    source = ExportDirectory(source)
    _check(source, calibration, images, labels, method)
    if Path(target).resolve() == source.path.resolve():
        raise UserError(f'{target} is the export to quantise; wanted another directory')
    before = Predictor(source.path, 'onnxruntime', threads=threads)
    # All batches have the same size, or the methods that count values fail.
    size = source.input().get('batch') or max(n for n in range(1, _CALIBRATION_BATCH + 1) if len(calibration) % n == 0)
    inputs = [np.stack([before.prepare(image) for image in calibration[start:start + size]])
              for start in range(0, len(calibration), size)]
    with new_directory(target, 'export', not_an_export, force) as ready:
        result = ExportDirectory(ready)
        shutil.copy(source / DESCRIPTION, ready)                   # `_describe` completes it later
        names, first = quantize_onnx(source.onnx(), result / ONNX, inputs, operators, exclude, method)
        after = Predictor(ready, 'onnxruntime', threads=threads)
        rows = compare([('float32', source, before), ('int8', result, after), *_in_bf16(source, bf16, threads)], images, labels)
        agreement = rows[1]['agreement']
        layers = layer_losses(source.onnx(), result.onnx(), inputs[0])
        if not agreement >= min_agreement:
            worst = ', '.join(f'{name} ({loss:.0f} dB)' for name, loss in layers[:3])
            raise UserError(f'quantised, {100 * agreement:.1f} % of {len(images)} images keep their class; wanted at '
                            f'least {100 * min_agreement:.1f} %. Nothing was written. Exclude the layers that lose most: {worst}, '
                            'calibrate with more images, or try --method percentile.')
        dense = ', uint8 in dense layers' if sums_overflow() else ''
        _describe(result, source, {
            'weights': f'int8 per channel{dense}', 'activations': 'uint8', 'operators': list(operators), 'layers': len(names),
            'float_layers': len(first), 'excluded': sorted(exclude), 'method': method,
            'calibration_images': len(calibration), 'compared_images': len(images),
            'agreement': round(agreement, 4), 'top1': {row['precision']: round(row['top1'], 2) for row in rows[:2]}})
        rows[1]['bytes'] = result.size('onnxruntime')          # now that the file contains the description
    return {'rows': rows, 'layers': layers}


def _check(source, calibration, images, labels, method):
    missing = [package for package in _NEEDS if not find_spec(package)]
    if missing:
        raise missing_package(f'quantisation needs {", ".join(missing)}, which', 'onnx')
    source.onnx()
    if 'quantization' in source.read():
        raise UserError(f'{source} is quantised already; wanted the export that it was made of')
    if not len(calibration) or not len(images) or len(images) != len(labels):
        raise UserError(f'{len(calibration)} images to calibrate with, {len(images)} images and {len(labels)} labels to compare '
                        'with; wanted at least one of each, and a label per image')
    if method not in METHODS:
        raise UserError(f'the calibration method is {method!r}; wanted one of {", ".join(METHODS)}')


def compare(predictors, images, labels, sizes=(1, 8), rounds=20):
    """One row per (precision, directory, predictor): top1 in percent, agreement with the first predictor (0 to 1), bytes of its
    files, and ms, the median milliseconds per batch size. The predictors take turns, so that other load on the machine affects
    all of them."""
    rows, first = [], None
    for precision, directory, predictor in predictors:
        found = predictor.predict(images).argmax(1)
        first = found if first is None else first
        rows.append({'engine': predictor.engine, 'precision': precision, 'top1': 100 * float((found == labels).mean()),
                     'agreement': float((found == first).mean()), 'bytes': directory.size(predictor.engine), 'ms': {}})
    sample = predictors[0][2].prepare(images[0])
    for size in sizes:
        batch, times = np.stack([sample] * size), [[] for _ in rows]
        for turn in range((rounds + 2) * len(rows)):
            i = (turn + turn // len(rows)) % len(rows)             # rounds start with different ones: the scheduler is periodic
            start = time.perf_counter()
            predictors[i][2].probabilities(batch)
            if turn >= 2 * len(rows):                              # warm
                times[i].append(1000 * (time.perf_counter() - start))
        for row, own in zip(rows, times):
            row['ms'][size] = statistics.median(own)
    return rows


def _in_bf16(source, engines, threads):
    """[(precision, directory, predictor)] of the source in bfloat16, one for each of `engines`."""
    return [('bfloat16', source, Predictor(source.path, engine, threads=threads, bf16=True)) for engine in engines]


def _describe(directory, source, quantization):
    """Write inference.yaml and the ONNX metadata of the result: those of the source, with a note on the quantisation."""
    import onnx
    description = source.read()
    for key in ('differences', 'engines'):                         # these are for the float export
        description.pop(key, None)
    description['quantization'] = quantization
    directory.write(description)
    write_example(directory)
    model = onnx.load(str(directory.onnx()))
    model.metadata_props.add(key='quantization', value=json.dumps(quantization))
    onnx.save(model, str(directory.onnx()))
