"""An export directory: the files of one or more engines, and inference.yaml, which describes them.

All file names are defined in this module, and only this module reads and writes inference.yaml.
"""
from pathlib import Path

import yaml

from image_classification.config.reading import parsed
from image_classification.datasets.preprocess import Preprocess
from image_classification.deploy.classes import Classes
from image_classification.errors import UserError
from image_classification.installation import tool

DESCRIPTION = 'inference.yaml'
PREFIX = 'inference'                                               # of the files below; Paddle wants it without endings
PROGRAM, OLDER_PROGRAM, WEIGHTS = 'inference.json', 'inference.pdmodel', 'inference.pdiparams'
ONNX = 'inference.onnx'
OPENVINO, OPENVINO_WEIGHTS = 'inference.xml', 'inference.bin'
MNN = 'inference.mnn'
NCNN, NCNN_WEIGHTS = 'inference.ncnn.param', 'inference.ncnn.bin'
TFLITE, LITE = 'inference.tflite', 'inference.nb'
FILES = {                                                          # engine: alternatives, each a set of files
    'paddle_inference': [(PROGRAM, WEIGHTS), (OLDER_PROGRAM, WEIGHTS)],
    'onnxruntime': [(ONNX,)],
    'openvino': [(OPENVINO, OPENVINO_WEIGHTS)],
    'mnn': [(MNN,)],
    'ncnn': [(NCNN, NCNN_WEIGHTS)],
    'litert': [(TFLITE,)],
    'paddlelite': [(OLDER_PROGRAM, WEIGHTS, LITE)],                # LITE is for ARM; on x86 the other two are converted
}
GUIDE, REPOSITORY = 'README.txt', 'triton'                         # with the formats lite and triton
EXAMPLE = 'example.py'                                             # with an ONNX file
PHONE_GUIDE, LABELS = 'README.md', 'labels.txt'                    # with files for phones
_ENTRIES = {DESCRIPTION, EXAMPLE, GUIDE, REPOSITORY, PHONE_GUIDE, LABELS, f'{WEIGHTS}.info',  # .info: in exports up to version 0.1
            *(name for alternatives in FILES.values() for names in alternatives for name in names)}
_WITHOUT_CLASSES = {'maps': 'feature maps', 'tensors': 'tensors of a detector'}


def not_an_export(path):
    """Why a directory does not consist of an export's files only, in words for a message; '' if it does."""
    if not (path / DESCRIPTION).is_file():
        return f'has no {DESCRIPTION}: no export has written it'
    others = sorted(entry.name for entry in path.iterdir() if entry.name not in _ENTRIES)
    return f'holds {", ".join(others[:3])}{", ..." if others[3:] else ""}, which no export has written' if others else ''


class ExportDirectory:
    """The directory at `path`, which need not exist."""

    def __init__(self, path):
        self.path = Path(path)

    def __str__(self):
        return str(self.path)

    def __truediv__(self, name):
        return self.path / name

    def engines(self):
        """The engines whose files are in the directory, whether or not they are installed."""
        return [engine for engine in FILES if self.files(engine)]

    def files(self, engine):
        """The paths of an engine's files, or None if one is missing."""
        for names in FILES[engine]:
            paths = [self.path / name for name in names]
            if all(path.is_file() for path in paths):
                return paths
        return None

    def size(self, engine):
        """The size of an engine's files in bytes."""
        return sum(path.stat().st_size for path in self.files(engine) or ())

    def onnx(self):
        """The path of inference.onnx. Raises UserError if there is none."""
        if not (self / ONNX).is_file():
            raise UserError(f'{self} has no {ONNX}; wanted an export by {tool("export")} --format onnx')
        return self / ONNX

    def read(self):
        """The content of inference.yaml. Raises UserError if the file is missing or is not a yaml mapping."""
        if not (self / DESCRIPTION).is_file():
            raise UserError(f'{self} has no {DESCRIPTION}; wanted the directory of an export, as {tool("export")} writes '
                            'it')
        return self.read_if_there()

    def read_if_there(self):
        """As `read`, but {} if there is no inference.yaml: the engines hardly need it."""
        path = self / DESCRIPTION
        if not path.is_file():
            return {}
        try:
            content = parsed(path.read_text(encoding='utf-8'), path)
        except (UnicodeDecodeError, OSError) as error:
            raise UserError(f'{path} cannot be read as yaml: {" ".join(str(error).split())}') from None
        if not content or not isinstance(content, dict):
            raise UserError(f'{path} is empty or no mapping; wanted what {tool("export")} writes')
        return content

    def write(self, content):
        """Write inference.yaml, with each list of numbers on one line, and names in their own script."""
        text = yaml.safe_dump(content, allow_unicode=True, sort_keys=False, default_flow_style=None, width=120)
        (self / DESCRIPTION).write_text(text, encoding='utf-8')

    def input(self):
        """What the engines take: {'dtype', 'layout'}, and 'batch' and 'side' (in pixels) if these are fixed.

        The input is float32 (B, C, H, W), or uint8 (B, H, W, C) if the preprocessing is part of the export.
        """
        given = self.read_if_there().get('input', {})
        fixed = {'batch': given.get('batch'), 'side': None if given.get('free_size', True) else given.get('image_size')}
        return {'dtype': given.get('dtype', 'float32'), 'layout': given.get('layout', 'NCHW'),
                **{key: value for key, value in fixed.items() if value}}

    def classes(self):
        """The Classes of a classifier's export.

        Raises:
            UserError: the export is not of a classifier, or inference.yaml is incomplete.
        """
        content = self.read()
        try:
            name, preprocess, output = content['name'], Preprocess.from_dict(content['preprocessing']), content['output']
            if output['kind'] in _WITHOUT_CLASSES:
                raise UserError(f'{self} is an export of {len(output["names"])} {_WITHOUT_CLASSES[output["kind"]]}, which are '
                                'no classes; wanted that of a classifier. Run it by image_classification.deploy.engines: '
                                '`open_engine(directory).run(images)`.')
            gives_logits = {'logits': True, 'probabilities': False}[output['kind']]
            temperature = float((content.get('calibration') or {}).get('temperature', 1.0))    # older exports have none
            return Classes(name, preprocess, content['class_names'], output['num_classes'], gives_logits, temperature)
        except (KeyError, TypeError) as error:
            raise UserError(f'{self / DESCRIPTION} lacks or misstates {error}; export the model again') from None
