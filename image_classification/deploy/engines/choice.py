"""Chooses the engine that runs an export: the requested one, or the fastest available."""
from image_classification.config import check
from image_classification.config.options import THREADS
from image_classification.deploy.engines.litert import LiteRt
from image_classification.deploy.engines.mnn import Mnn
from image_classification.deploy.engines.ncnn import Ncnn
from image_classification.deploy.engines.onnxruntime import OnnxRuntime
from image_classification.deploy.engines.openvino import OpenVino
from image_classification.deploy.engines.paddle_inference import PaddleInference
from image_classification.deploy.engines.paddle_lite import PaddleLite
from image_classification.deploy.export_directory import FILES, ExportDirectory
from image_classification.errors import UserError, missing_package
from image_classification.installation import tool

_CLASSES = {kind.name: kind for kind in (PaddleInference, OnnxRuntime, OpenVino, Mnn, Ncnn, LiteRt, PaddleLite)}
ENGINES = tuple(_CLASSES)
# The order in which open_engine prefers them.
FASTEST_FIRST = ('onnxruntime', 'openvino', 'mnn', 'paddle_inference', 'litert', 'ncnn', 'paddlelite')

# {engine: its format in tools/export.py}
FORMATS = {**{engine: engine for engine in ENGINES}, 'paddle_inference': 'paddle', 'onnxruntime': 'onnx', 'litert': 'tflite',
           'paddlelite': 'lite'}
PHONE_ENGINES = ('mnn', 'ncnn', 'litert', 'paddlelite')            # their exports take one picture, and hold other formats, too


def available():
    """The engines that are installed."""
    return [engine for engine, kind in _CLASSES.items() if kind.installed()]


def engines_of(directory):
    """The engines whose files are in an export directory, whether or not they are installed."""
    return ExportDirectory(directory).engines()


def open_engine(directory, engine=None, threads=None, bf16=False):
    """Open an export with an engine.

    Args:
        engine: one of ENGINES; by default the fastest one that is installed and has its files in the directory.
        threads: CPU threads for one call; by default the engine decides.
        bf16: compute in bfloat16 (OpenVINO and Paddle Inference only) if the processor supports it; about 3 digits are right.
    Returns:
        an Engine, with `name`, `outputs` (names), `input` ('dtype' and 'layout' of images) and `run(images)`. `run` takes
        float32 (B, C, H, W), or uint8 (B, H, W, C) if the preprocessing is part of the export, and returns a list of arrays.
        Several threads may call `run` at once.
    Raises:
        UserError: the engine is unknown, is not installed, has no files in the directory, or cannot read them.
    """
    check('the number of threads', 1 if threads is None else threads, THREADS)
    directory = ExportDirectory(directory)
    engine = _choose(directory) if engine is None else _check(directory, engine)
    try:
        return _CLASSES[engine](directory, threads, bf16)
    except UserError:
        raise
    except Exception as error:                                     # the engines' C++ errors have no common class
        lines = str(error).strip().splitlines() or ['no reason given']
        raise UserError(f'{engine} cannot read {directory} ({lines[0][:300]}); export the model again') from error


def _choose(directory):
    present, installed = directory.engines(), available()
    if not present:
        wanted = '; '.join(' + '.join(names) for alternatives in FILES.values() for names in alternatives)
        raise UserError(f'{directory} is no complete export; wanted one of: {wanted}. Export the model again by '
                        f'{tool("export")}.')
    for engine in FASTEST_FIRST:
        if engine in present and engine in installed:
            return engine
    raise missing_package(f'{directory} is for {", ".join(present)}, and {present[0]}', _CLASSES[present[0]].extra)


def _check(directory, engine):
    if engine not in ENGINES:
        raise UserError(f'the engine is {engine!r}; wanted one of {", ".join(ENGINES)}')
    if engine not in directory.engines():
        present = ', '.join(directory.engines()) or 'no engine'
        wanted = ' or '.join(' + '.join(names) for names in FILES[engine])
        raise UserError(f'{directory} has files for {present}; {engine} needs {wanted}. Export the model for it: '
                        f'{tool("export")} MODEL --format {FORMATS[engine]}.')
    if engine not in available():
        raise _CLASSES[engine].missing()
    return engine
