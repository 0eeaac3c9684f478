"""Converts an ONNX file with fixed shapes to inference.mnn, with MNN's own converter. A program of its own, because the
converter can end the process: python -m image_classification.deploy.formats.mnn ONNX MNN

The converter is called as a function. The program mnnconvert, which wraps it, installs a package with pip that reports each
conversion to a host on the internet.
"""
import os
import sys
from importlib import import_module
from pathlib import Path

from image_classification.datasets.preprocess import Preprocess
from image_classification.deploy.export_directory import MNN, ONNX
from image_classification.deploy.formats.phone import factors, numbers
from image_classification.files import temporary_directory

HEADING, NEEDS, MODULE = 'MNN', ('paddle2onnx', 'onnx', 'onnxruntime', 'MNN'), 'formats.mnn'
NO_PIXELS = 'which gives other results for uint8 than for the same numbers in float32'
_CPP = '''C++ (Android: through JNI; iOS: the same lines in an Objective-C++ file, which Swift calls):

```cpp
#include <MNN/ImageProcess.hpp>
#include <MNN/Interpreter.hpp>

std::shared_ptr<MNN::Interpreter> net(MNN::Interpreter::createFromFile("{file}"));
MNN::BackendConfig precision;
precision.precision = MNN::BackendConfig::Precision_High;    // float32, as it was compared; Precision_Low is faster on ARM
MNN::ScheduleConfig config;
config.numThread = 2;
config.backendConfig = &precision;
net->setSessionHint(MNN::Interpreter::WINOGRAD_MEMORY_LEVEL, 2);   // as it was compared; without it, rounding errors are larger
MNN::Session* session = net->createSession(config);
MNN::Tensor* input = net->getSessionInput(session, nullptr);
{convert}
net->runSession(session);
MNN::Tensor* output = net->getSessionOutput(session, {output});
MNN::Tensor scores(output, MNN::Tensor::CAFFE);
output->copyToHostTensor(&scores);
const float* first = scores.host<float>();                   // scores.elementSize() numbers
```
'''
_PICTURE = '''const float mean[] = {{{mean}}}, normal[] = {{{normal}}};
std::shared_ptr<MNN::CV::ImageProcess> pixels(
    MNN::CV::ImageProcess::create(MNN::CV::{given}, MNN::CV::{wanted}, mean, {channels}, normal, {channels}));
pixels->convert(picture, {size}, {size}, 0, input);          // {size} x {size} pixels of {given}, scaled and cut as above'''
_KOTLIN = '''
Kotlin, with the classes of `project/android/demo` of MNN. They lack the hint for Winograd convolutions, so rounding errors are
larger (up to 1e-3 of the output's deviation in networks with many 3x3 convolutions):

```kotlin
val net = MNNNetInstance.createFromFile(file)                // {file}, copied from the assets
val session = net.createSession(MNNNetInstance.Config().apply {{ numThread = 2 }})
val image = MNNImageProcess.Config().apply {{
    mean = floatArrayOf({mean})
    normal = floatArrayOf({normal})
    dest = MNNImageProcess.Format.{wanted}
}}
val input = session.getInput(null)
MNNImageProcess.convertBitmap(bitmap, input, image, android.graphics.Matrix())   // a bitmap of {size} x {size}
session.run()
val scores = session.getOutput(null).floatData
```
'''


def main(source, target):
    """Convert an ONNX file."""
    import onnx
    model = onnx.load(str(source))
    with temporary_directory() as scratch:
        onnx.save(exact_gelu(model), str(Path(scratch) / ONNX))
        convert(Path(scratch) / ONNX, target, '-f', 'ONNX', '--keepInputFormat=1')


def exact_gelu(model):
    """Replace 1 + erf(x / sqrt(2)) in each GELU by 1 - erf(-x / sqrt(2)). MNN replaces the former by another function, which is
    off by up to 5e-4. (The error of an untrained MobileFormer-26M was 1.6e-4 of the standard deviation, and is 3e-6.)"""
    import onnx
    weights = {value.name: onnx.numpy_helper.to_array(value) for value in model.graph.initializer}
    makers = {name: node for node in model.graph.node for name in node.output}
    readers = {}
    for node in model.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    added = {}
    for erf in [node for node in model.graph.node if node.op_type == 'Erf']:
        scale, sums = makers.get(erf.input[0]), readers.get(erf.output[0], [])
        scaled = scale is not None and scale.op_type in ('Div', 'Mul') and scale.input[1] in weights
        if not scaled or len(readers[erf.input[0]]) > 1 or len(sums) != 1 or sums[0].op_type != 'Add':
            continue
        one = next((name for name in sums[0].input if name in weights), None)
        if one is not None and (weights[one] == 1).all():
            added[f'{scale.input[1]}_negative'] = -weights[scale.input[1]]
            scale.input[1] = f'{scale.input[1]}_negative'
            sums[0].op_type, sums[0].input[:] = 'Sub', [one, erf.output[0]]
    model.graph.initializer.extend(onnx.numpy_helper.from_array(value, name) for name, value in added.items())
    return model


def convert(source, target, *options):
    """Run MNN's converter, in a temporary directory: it leaves a file in the working directory."""
    source, target, before = Path(source).resolve(), Path(target).resolve(), os.getcwd()
    with temporary_directory() as scratch:
        os.chdir(scratch)
        try:
            import_module('_tools').mnnconvert(['mnnconvert', '--modelFile', str(source), '--MNNModel', str(target),
                                                '--bizCode', 'paddle_mobile_backbones', *options])
        finally:
            os.chdir(before)
    if not target.is_file():
        raise SystemExit('ValueError: the converter of MNN wrote no file')


def files(directory):
    """The files that `main` writes."""
    return [directory / MNN]


def guide(content):
    """The code that loads and runs the file, in Markdown."""
    preprocess = Preprocess.from_dict(content['preprocessing'])
    means, normals = factors(preprocess)
    values = {'file': MNN, 'size': preprocess.image_size, 'channels': preprocess.channels, 'mean': numbers(means),
              'normal': numbers(normals), 'given': 'RGBA', 'wanted': {1: 'GRAY', 3: preprocess.color_order, 4: 'RGBA'}[preprocess.channels]}
    name = f'"{content["output"]["names"][0]}"' if 'shapes' in content['output'] else 'nullptr'
    return _CPP.format(convert=_PICTURE.format(**values), output=name, **values) + _KOTLIN.format(**values)


if __name__ == '__main__':
    main(*sys.argv[1:])
