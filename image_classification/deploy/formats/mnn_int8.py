"""Quantises the weights of an export for MNN to int8, with MNN's own converter. Feature maps stay float32.

A program of its own, see `mnn`: python -m image_classification.deploy.formats.mnn_int8 SOURCE TARGET
"""
import shutil
import sys

import numpy as np

from image_classification.config import check
from image_classification.config.bounds import SHARE
from image_classification.deploy.child import run_child
from image_classification.deploy.export_directory import DESCRIPTION, LABELS, MNN, PHONE_GUIDE, ExportDirectory, not_an_export
from image_classification.deploy.formats.mnn import convert
from image_classification.deploy.predictor import Predictor
from image_classification.errors import UserError
from image_classification.files import new_directory

BITS = 8


def quantize_mnn_export(source, target, images, labels, min_agreement=0.95, threads=None, force=False):
    """Write the export `source` with 8-bit weights as the export `target`, if its predictions still agree well enough.

    Args:
        source: an export directory with the inference.mnn of a classifier.
        target: must be empty or not exist yet, unless `force`.
        images, labels: pictures for the comparison, and the numbers of their classes.
        min_agreement: the smallest share of `images` that must keep their most probable class.
        threads: CPU threads of MNN.
        force: replace an earlier export once the new one is ready. Other directories are never replaced.
    Returns:
        [{'precision', 'top1' in percent, 'agreement' (0 to 1), 'bytes'}] before and after.
    Raises:
        UserError: there is no such export, it is quantised already, there are no pictures, or the result does not agree well
            enough. Nothing is written then.
    """
    check('min_agreement', min_agreement, SHARE)
    source, labels = ExportDirectory(source), np.asarray(labels)
    content = source.read()
    if not (source / MNN).is_file() or 'quantization' in content:
        found = 'is quantised already' if 'quantization' in content else f'has no {MNN}'
        raise UserError(f'{source} {found}; wanted an export by --format mnn')
    if not len(images) or len(images) != len(labels):
        raise UserError(f'{len(images)} images and {len(labels)} labels to compare with; wanted at least one, and a label per '
                        'image')
    with new_directory(target, 'export', not_an_export, force) as ready:
        for name in (DESCRIPTION, LABELS, PHONE_GUIDE):
            if (source / name).is_file():
                shutil.copy(source / name, ready)
        problem = run_child('formats.mnn_int8', str(source / MNN), str(ready / MNN))
        if problem:
            raise UserError(f'MNN cannot quantise {source}: {problem}')
        result, rows, first = ExportDirectory(ready), [], None
        for precision, directory in (('float32', source), (f'weights int{BITS}', result)):
            found = Predictor(directory.path, 'mnn', threads=threads).predict(images).argmax(1)
            first = found if first is None else first
            rows.append({'precision': precision, 'top1': 100 * float((found == labels).mean()),
                         'agreement': float((found == first).mean()), 'bytes': directory.size('mnn')})
        if not rows[1]['agreement'] >= min_agreement:
            raise UserError(f'quantised, {100 * rows[1]["agreement"]:.1f} % of {len(images)} images keep their class; '
                            f'wanted at least {100 * min_agreement:.1f} %. Nothing was written.')
        for key in ('differences', 'engines'):                     # these are for the float export
            content.pop(key, None)
        content['quantization'] = {'weights': f'int{BITS}', 'activations': 'float32', 'compared_images': len(images),
                                   'agreement': round(rows[1]['agreement'], 4)}
        result.write(content)
    return rows


def main(source, target):
    """Write an MNN file with 8-bit weights."""
    convert(source, target, '-f', 'MNN', '--weightQuantBits', str(BITS))


if __name__ == '__main__':
    main(*sys.argv[1:])
