"""Quantises the weights of an export for MNN or LiteRT to int8, with the engine's own quantiser. Feature maps stay float32.

A program of its own, because quantisers may end the process:
python -m image_classification.deploy.formats.weights_int8 ENGINE SOURCE TARGET
"""
import contextlib
import io
import shutil
import sys
from importlib.util import find_spec

import numpy as np

from image_classification.config import check
from image_classification.config.bounds import SHARE
from image_classification.deploy.child import run_child
from image_classification.deploy.export_directory import (DESCRIPTION, LABELS, MNN, PHONE_GUIDE, TFLITE, ExportDirectory,
                                                          not_an_export)
from image_classification.deploy.predictor import Predictor
from image_classification.errors import UserError, missing_package
from image_classification.files import new_directory

BITS = 8
FILES = {'mnn': MNN, 'litert': TFLITE}                             # engine: its file in an export
_NEEDS = {'mnn': ('MNN', 'mnn'), 'litert': ('ai_edge_quantizer', 'tflite')}    # (package, extra that installs it)


def quantize_weights(source, target, images, labels, min_agreement=0.95, threads=None, force=False):
    """Write the export `source` with 8-bit weights as the export `target`, if its predictions still agree well enough.

    Args:
        source: an export directory of a classifier with inference.mnn or inference.tflite, and no other engine's file.
        target: must be empty or not exist yet, unless `force`.
        images, labels: pictures for the comparison, and the numbers of their classes.
        min_agreement: the smallest share of `images` that must keep their most probable class.
        threads: CPU threads of the engine.
        force: replace an earlier export once the new one is ready. Other directories are never replaced.
    Returns:
        [{'precision', 'top1' in percent, 'agreement' (0 to 1), 'bytes'}] before and after.
    Raises:
        UserError: there is no such export, it is quantised already, there are no pictures, a package is missing, or the result
            does not agree well enough. Nothing is written then.
    """
    check('min_agreement', min_agreement, SHARE)
    source, labels = ExportDirectory(source), np.asarray(labels)
    content = source.read()
    engine = next((engine for engine in FILES if source.engines() == [engine]), None)
    if engine is None or 'quantization' in content:
        found = 'is quantised already' if 'quantization' in content else f'is for {", ".join(source.engines()) or "no engine"}'
        raise UserError(f'{source} {found}; wanted an export by --format mnn or --format tflite alone')
    package, extra = _NEEDS[engine]
    if not find_spec(package):
        raise missing_package(f'8-bit weights for {engine} need {package}, which', extra)
    if not len(images) or len(images) != len(labels):
        raise UserError(f'{len(images)} images and {len(labels)} labels to compare with; wanted at least one, and a label per '
                        'image')
    with new_directory(target, 'export', not_an_export, force) as ready:
        for name in (DESCRIPTION, LABELS, PHONE_GUIDE):
            if (source / name).is_file():
                shutil.copy(source / name, ready)
        problem = run_child('formats.weights_int8', engine, str(source / FILES[engine]), str(ready / FILES[engine]))
        if problem:
            raise UserError(f'the quantiser for {engine} cannot quantise {source}: {problem}')
        result, rows, first = ExportDirectory(ready), [], None
        for precision, directory in (('float32', source), (f'weights int{BITS}', result)):
            found = Predictor(directory.path, engine, threads=threads).predict(images).argmax(1)
            first = found if first is None else first
            rows.append({'precision': precision, 'top1': 100 * float((found == labels).mean()),
                         'agreement': float((found == first).mean()), 'bytes': directory.size(engine)})
        if not rows[1]['agreement'] >= min_agreement:
            raise UserError(f'quantised, {100 * rows[1]["agreement"]:.1f} % of {len(images)} images keep their class; '
                            f'wanted at least {100 * min_agreement:.1f} %. Nothing was written.')
        for key in ('differences', 'engines'):                     # these are for the float export
            content.pop(key, None)
        content['quantization'] = {'weights': f'int{BITS}', 'activations': 'float32', 'compared_images': len(images),
                                   'agreement': round(rows[1]['agreement'], 4)}
        result.write(content)
    return rows


def main(engine, source, target):
    """Write an engine's file with 8-bit weights."""
    if engine == 'mnn':
        from image_classification.deploy.formats.mnn import convert
        convert(source, target, '-f', 'MNN', '--weightQuantBits', str(BITS))
    else:
        from ai_edge_quantizer import quantizer, recipe
        with contextlib.redirect_stdout(io.StringIO()):            # it prints a report
            made = quantizer.Quantizer(source)
            made.load_quantization_recipe(recipe.weight_only_wi8_afp32())
            made.quantize().export_model(target, overwrite=True)


if __name__ == '__main__':
    main(*sys.argv[1:])
