"""MNN: an ONNX file of fixed shapes as inference.mnn, by MNN's own converter. A program of its own, because that can end the
process: python -m image_classification.deploy.formats.mnn ONNX MNN

The converter is called as the function that it is. The program mnnconvert around it calls pip for a package that reports each
conversion to a host on the internet.
"""
import sys
from importlib import import_module
from pathlib import Path

from image_classification.datasets.preprocess import Preprocess
from image_classification.deploy.export_directory import MNN
from image_classification.deploy.formats.phone import factors, numbers

HEADING, NEEDS, MODULE = 'MNN', ('paddle2onnx', 'onnx', 'onnxruntime', 'MNN'), 'formats.mnn'
NO_PIXELS = 'which computes something else of uint8 than of the same numbers in float32'
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
Kotlin, with the classes of `project/android/demo` of MNN:

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
    import_module('_tools').mnnconvert(['mnnconvert', '-f', 'ONNX', '--modelFile', str(source), '--MNNModel', str(target),
                                        '--bizCode', 'paddle_mobile_backbones', '--keepInputFormat=1'])
    if not Path(target).is_file():
        raise SystemExit('ValueError: the converter of MNN wrote no file')


def files(directory):
    """What `main` is given, beside the ONNX file."""
    return [directory / MNN]


def guide(content):
    """The lines that load and run it, in Markdown."""
    preprocess = Preprocess.from_dict(content['preprocessing'])
    means, normals = factors(preprocess)
    values = {'file': MNN, 'size': preprocess.image_size, 'channels': preprocess.channels, 'mean': numbers(means),
              'normal': numbers(normals), 'given': 'RGBA', 'wanted': {1: 'GRAY', 3: preprocess.color_order, 4: 'RGBA'}[preprocess.channels]}
    name = f'"{content["output"]["names"][0]}"' if 'shapes' in content['output'] else 'nullptr'
    return _CPP.format(convert=_PICTURE.format(**values), output=name, **values) + _KOTLIN.format(**values)


if __name__ == '__main__':
    main(*sys.argv[1:])
