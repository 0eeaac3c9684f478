"""Verified static export: the target directory appears only after its files have run and agreed with the network."""
import json
from dataclasses import dataclass, replace
from pathlib import Path

from image_classification.config.defaults import SIDE
from image_classification.datasets import Preprocess
from image_classification.deploy.child import reason, run_child
from image_classification.deploy.description import describe, examine, output_names
from image_classification.deploy.example import write_example
from image_classification.deploy.export_directory import ONNX, OPENVINO, PREFIX, REPOSITORY, ExportDirectory, not_an_export
from image_classification.deploy.formats import lite, mnn, ncnn, onnx_format, phone, tflite, triton
from image_classification.deploy.static import on_cpu, onednn_of, save_static
from image_classification.deploy.verify import Failure, keep_largest, verify
from image_classification.errors import UserError
from image_classification.files import check_space, new_directory, temporary_directory
from image_classification.layers import count_wanted, network_of
from image_classification.names.text import as_json
from image_classification.weights import write_safetensors

PHONE = {'mnn': mnn, 'ncnn': ncnn, 'tflite': tflite}               # converted from one ONNX file with fixed shapes
FORMATS = ('paddle', 'pdmodel', 'onnx', 'openvino', 'lite', 'triton', *PHONE)
TARGETS = ('onnxruntime', 'others')
_SAME_FILES = ('paddle', 'pdmodel', 'lite')                        # each orders inference.pdiparams in its own way


def export_model(model, directory, class_names=None, format='paddle', softmax=False, image_size=None, pixels=False,
                 allow_unsupported=False, fixed_size=False, force=False, target=None):
    """Export a network to one or more of the formats below, with inference.yaml, which describes them.

    | format | files | for |
    |---|---|---|
    | paddle | inference.json, inference.pdiparams | Paddle Inference |
    | pdmodel | inference.pdmodel, inference.pdiparams | older versions of Paddle Inference |
    | onnx | inference.onnx | ONNX Runtime, TensorRT, ... |
    | openvino | inference.xml, inference.bin | OpenVINO |
    | lite | the files of pdmodel, README.txt with the command that converts them, README.md, labels.txt; also the converted
      inference.nb if a Python 3.7 with paddlelite is installed | Paddle-Lite on ARM |
    | triton | the files of onnx, and triton/NAME/ | the Triton Inference Server |
    | mnn | inference.mnn, README.md, labels.txt | MNN on phones |
    | ncnn | inference.ncnn.param, inference.ncnn.bin, README.md, labels.txt | ncnn on phones |
    | tflite | inference.tflite, README.md, labels.txt | LiteRT on phones |

    An ONNX file comes with example.py, which runs it with numpy, Pillow and ONNX Runtime only.

    The batch size is dynamic. Height and width are dynamic, too, if the network allows it (`input.free_size` in
    inference.yaml). Each installed engine that can run a file must agree with the network before the directory appears.
    Args:
        model: a network from `create_model` (also with `features_only`) or `load_network`. It is not changed. The export has
            the network's own outputs: logits, feature maps, or a detector's tensors.
        directory: must be empty or not exist yet, unless `force`.
        class_names: one per class, or None; for networks with logits only, like `softmax`.
        format: a name, several separated by commas, or a list of names.
        softmax: append a softmax, so that the export gives probabilities.
        image_size: side of the square input in pixels; by default the configuration's DATA.IMAGE_SIZE.
        pixels: take uint8 (B, H, W, C), RGB; scaling, normalizing and the order of colours become part of the graph.
        allow_unsupported: with the format lite, also write a network with operators that Paddle-Lite does not document.
        fixed_size: fix the input to one picture of image_size x image_size, as OpenCV, phones and NPUs want it. `Predictor`
            and `open_engine` then pass pictures one at a time. Exports to lite, mnn, ncnn or tflite are always fixed.
        force: replace an earlier export once the new one is ready. Other directories are never replaced.
        target: which engines the ONNX file is for; its metadata records it. 'onnxruntime' is the fastest form for ONNX Runtime,
            'others' uses operators that more engines have. By default 'others' with a fixed size, otherwise 'onnxruntime'.
    Returns:
        {batch size: largest difference, relative to that output's standard deviation}; inference.yaml has the absolute one.
    Raises:
        UserError: the directory is in use, the arguments do not fit, a package is missing, or the export differs from the
            network. Nothing is written then.
    """
    formats, target = _formats(format), _target(target, fixed_size)
    for format in formats if pixels else ():
        if hasattr(PHONE.get(format), 'NO_PIXELS'):
            raise phone.refuse_pixels(format, PHONE[format].NO_PIXELS)
    config = getattr(network_of(model), 'config', None)
    if config is None:
        raise UserError(f'export_model got a {type(model).__name__}; wanted a network of create_model or of load_network')
    if isinstance(class_names, str):
        raise UserError(f'class_names is {class_names[:80]!r}; wanted a list of names, one per class')
    preprocess = Preprocess.from_config(config, channels=config.MODEL.IN_CHANNELS)
    if image_size is not None:
        preprocess = replace(preprocess, image_size=count_wanted(image_size, 'image_size is', SIDE))
    with new_directory(directory, 'export', not_an_export, force) as ready, on_cpu():
        cfg, output = examine(model, preprocess, class_names, softmax)
        one = fixed_size or not {*PHONE, 'lite'}.isdisjoint(formats)   # Paddle-Lite 2.12 is wrong if the size changes
        order = _Order(model, cfg, preprocess, class_names, output, formats, softmax, pixels, allow_unsupported,
                       1 if one else None, target)
        differences = _write_verified(order, ExportDirectory(ready))
    return {batch: values['relative'] for batch, values in differences.items()}


@dataclass
class _Order:
    """What to export, and how."""
    model: object
    cfg: object
    preprocess: Preprocess
    class_names: list
    output: dict
    formats: list
    softmax: bool
    pixels: bool
    allow_unsupported: bool
    batch: int                                                     # None: dynamic
    target: str                                                    # one of TARGETS

    def shape(self, free):
        """(B, C, H, W) of the input, -1 for dynamic dimensions; `free` makes H and W dynamic."""
        size = -1 if free else self.preprocess.image_size
        return [self.batch or -1, self.preprocess.channels, size, size]


def _formats(wanted):
    if not isinstance(wanted, (str, list, tuple)):
        raise UserError(f'export format is {wanted!r}; wanted one of {", ".join(FORMATS)}, or a list of them')
    formats = list(dict.fromkeys(wanted.split(',') if isinstance(wanted, str) else wanted))
    for format in formats:
        if format not in FORMATS:
            raise UserError(f'export format is {format!r}; wanted one of {", ".join(FORMATS)}')
        if format in PHONE:
            phone.check_installed(format, PHONE[format].NEEDS)
        else:
            onnx_format.check_installed('onnx' if format == 'triton' else format)
    same = [format for format in formats if format in _SAME_FILES]
    if len(same) > 1 or not formats:
        raise UserError(f'export formats are {", ".join(formats) or "none"}; wanted one or more of {", ".join(FORMATS)}, but '
                        f'only one of {", ".join(_SAME_FILES)}: they write a file of the same name')
    return formats


def _target(wanted, fixed_size):
    if wanted is None:
        return 'others' if fixed_size else 'onnxruntime'
    if wanted not in TARGETS:
        raise UserError(f'the target of the ONNX file is {wanted!r}; wanted one of {", ".join(TARGETS)}')
    return wanted


def _write_verified(order, directory):
    """Export with dynamic height and width or, if that fails, with fixed ones. Returns {batch: differences}, the largest over
    all engines."""
    size = order.preprocess.image_size
    if order.batch:
        return _write(order, directory, False, [(size, size)])
    try:
        return _write(order, directory, True, [(size, size), (size + 32, size + 64)])
    except Failure:                                                # if the size is not the cause, the next attempt fails, too
        for path in directory.path.iterdir():
            path.unlink()
    return _write(order, directory, False, [(size, size)])


def _write(order, directory, free, sizes):
    """Write all formats and inference.yaml, verified at `sizes`."""
    content = describe(order.cfg, order.preprocess, order.class_names, order.output, order.pixels, free, order.batch)
    report = {}
    if 'paddle' in order.formats:
        _trace(order, directory / PREFIX, order.shape(free), products=True)
    if {'onnx', 'openvino', 'triton'}.intersection(order.formats):
        with temporary_directory() as scratch:
            program = Path(scratch) / PREFIX
            _trace(order, program, order.shape(free), onnx=True)
            report = _write_onnx(order, program, directory, content)
    phones = [format for format in order.formats if format in PHONE]
    if phones:
        report.update(_write_phones(order, directory, content, phones))
    if {'pdmodel', 'lite'}.intersection(order.formats):
        _write_pdmodel(order, directory / PREFIX, order.shape(free))
    if 'lite' in order.formats:
        report['lite'] = _write_lite(order, directory)
    directory.write(content)                                       # the engines read the type of their input from it
    verified = verify(order.model, directory, order.preprocess, sizes, order.softmax, order.pixels, onednn_of(order.model),
                      [order.batch] if order.batch else [1, 3])
    content['output']['names'] = verified[next(iter(verified))]['outputs']
    content['differences'] = _largest(verified)                    # between network and export, per batch size
    content['engines'] = verified
    content.update(report)
    directory.write(content)
    write_example(directory)
    makers = [PHONE[format] for format in phones] + [lite] * ('lite' in order.formats)
    if makers:
        phone.write_phone_files(directory, content, {maker.HEADING: maker.guide(content) for maker in makers})
    if 'triton' in order.formats:
        triton.write_repository(directory.path, directory / REPOSITORY)
    return content['differences']


def _trace(order, prefix, shape, **forms):
    pixels = order.preprocess if order.pixels else None
    try:
        save_static(prefix, order.model, shape, order.softmax, pixels, **forms)
    except OSError:                                                # not the network's fault
        raise
    except Exception as error:                                     # tracing runs the network's code, which can raise anything
        check_space(str(error), prefix.parent)
        raise Failure(f'{order.cfg.MODEL.NAME} cannot be traced: {reason(str(error))}') from error


def _write_onnx(order, program, directory, content):
    """Write inference.onnx, OpenVINO's files, or both, as requested. Returns their entries of inference.yaml."""
    content['for'] = order.target
    onnx = directory / ONNX if {'onnx', 'triton'}.intersection(order.formats) else None
    openvino = directory / OPENVINO if 'openvino' in order.formats else None
    report = {'onnx': _convert(order, program, content, onnx, openvino)}
    # By default OpenVINO computes in bfloat16 if the processor can; only two or three digits are then right.
    return {**report, 'openvino': {'compile_with': {'INFERENCE_PRECISION_HINT': 'f32'}}} if openvino else report


def _convert(order, program, content, onnx, openvino=None):
    """Convert a traced program to ONNX, OpenVINO, or both. Returns the converter's report."""
    sizes = [f'{side}' if content['input']['free_size'] else None for side in ('height', 'width')]
    batch = None if order.batch else 'batch'
    arguments = {
        'program': str(program), 'opset': onnx_format.OPSET, 'outputs': output_names(order.output),
        'onnx': str(onnx) if onnx else None, 'openvino': str(openvino) if openvino else None,
        'dims': [batch, *sizes, None] if order.pixels else [batch, None, *sizes], 'plain': content['for'] == 'others',
        'metadata': {key: as_json(value) for key, value in content.items()}}
    with temporary_directory() as scratch:
        report = Path(scratch) / 'report.json'
        problem = run_child('formats.onnx_format', json.dumps({**arguments, 'report': str(report)}), POLYGRAPHY_AUTOINSTALL_DEPS='0')
        if problem:
            check_space(problem, (onnx or openvino).parent)
            raise Failure(f'{order.cfg.MODEL.NAME} cannot be written as ONNX: {problem}')
        return json.loads(report.read_text())


def _write_phones(order, directory, content, formats):
    """Write the phone formats, each with its engine's converter. Returns their entries of inference.yaml."""
    with temporary_directory() as scratch:
        program, source = Path(scratch) / PREFIX, Path(scratch) / ONNX
        _trace(order, program, order.shape(False), phone=True)
        _convert(order, program, {**content, 'for': 'others'}, source)
        for format in formats:
            files = [str(path) for path in PHONE[format].files(directory)]
            problem = run_child(PHONE[format].MODULE, str(source), *files)
            if problem:
                check_space(problem, directory.path)
                raise Failure(f'{order.cfg.MODEL.NAME} cannot be written for {format}: {problem}')
    return {format: {'converter': phone.versions(PHONE[format].NEEDS[-1:])} for format in formats}


def _write_pdmodel(order, prefix, shape):
    network = network_of(order.model)
    with temporary_directory() as scratch:
        weights = str(Path(scratch) / 'weights.safetensors')
        write_safetensors(weights, {name: tensor.numpy() for name, tensor in network.state_dict().items()},
                          {'config': order.cfg.dump()})
        arguments = {'weights': weights, 'prefix': str(prefix), 'shape': shape, 'softmax': order.softmax,
                     'strides': None if order.model is network else order.model.strides,
                     'pixels': order.preprocess.to_dict() if order.pixels else None,
                     'phone': 'lite' in order.formats}
        problem = run_child('formats.pdmodel', json.dumps(arguments), FLAGS_enable_pir_api='0')
        if problem:
            check_space(problem, prefix.parent)
            raise Failure(f'{order.cfg.MODEL.NAME} cannot be written as .pdmodel: {problem}')


def _write_lite(order, directory):
    """Write what Paddle-Lite needs besides inference.pdmodel. Returns its entries of inference.yaml."""
    lite.mend(directory)
    try:
        return {**lite.write_guide(directory, order.cfg.MODEL.NAME, order.allow_unsupported), **lite.write(directory)}
    except UserError as error:
        check_space(str(error), directory.path)
        raise Failure(f'{order.cfg.MODEL.NAME} for Paddle-Lite: {error}') from None


def _largest(verified):
    """{batch: the largest differences over all engines}."""
    largest = {}
    for found in verified.values():
        for batch, values in found['differences'].items():
            keep_largest(largest, batch, values)
    return largest
