"""An MNN file in 8 bits, by MNN's own quantiser. A program of its own, because that can end the process:
python -m image_classification.deploy.formats.mnn_int8 SOURCE TARGET CONFIGURATION
"""
import json
import sys
from importlib import import_module
from pathlib import Path

from image_classification.datasets.preprocess import Preprocess
from image_classification.deploy.child import run_child
from image_classification.deploy.export_directory import MNN
from image_classification.deploy.formats.phone import factors
from image_classification.errors import UserError
from image_classification.files import temporary_directory

METHODS = ('KL', 'ADMM', 'EMA')                                    # how the ranges of maps are found


def quantize_mnn(source, target, calibration, method='KL'):
    """Write the inference.mnn of an ExportDirectory in 8 bits.

    Args:
        source: the export, of float32 (1, C, H, W).
        target: the file to write.
        calibration: pictures (PIL) of the kind that it will see.
    Raises:
        UserError: no such export, or MNN cannot quantise it; nothing is written then.
    """
    content = source.read()
    if not (source / MNN).is_file() or content['input']['layout'] == 'NHWC':
        raise UserError(f'{source} has no {MNN} that takes float32; wanted an export by --format mnn without --preprocess')
    preprocess = Preprocess.from_dict(content['preprocessing'])
    mean, normal = factors(preprocess)
    with temporary_directory() as scratch:
        pictures = Path(scratch) / 'pictures'
        pictures.mkdir()
        for number, picture in enumerate(calibration):
            preprocess.crop(picture).save(pictures / f'{number:05}.png')
        kind = {1: 'GRAY', 3: preprocess.color_order, 4: 'RGBA'}[preprocess.channels]
        settings = {'format': kind, 'mean': mean, 'normal': normal, 'width': preprocess.image_size, 'height': preprocess.image_size,
                    'path': f'{pictures}/', 'used_image_num': len(calibration), 'feature_quantize_method': method,
                    'weight_quantize_method': 'MAX_ABS', 'batch_size': 16}
        configuration, made = Path(scratch) / 'settings.json', Path(scratch) / MNN
        configuration.write_text(json.dumps(settings))
        problem = run_child('formats.mnn_int8', str(source / MNN), str(made), str(configuration))
        if problem or not made.is_file():
            raise UserError(f'MNN cannot quantise {source}: {problem or "it wrote no file"}')
        Path(target).write_bytes(made.read_bytes())


def main(source, target, configuration):
    """As the quantiser of MNN takes them. Its program mnnquant calls pip, see `mnn`."""
    import_module('_tools').mnnquant(source, target, configuration)


if __name__ == '__main__':
    main(*sys.argv[1:])
