"""Converts an ONNX file with fixed shapes to inference.tflite for LiteRT (formerly TensorFlow Lite), with TensorFlow's
converter. A program of its own, because the converter can end the process, and TensorFlow and Paddle do not work in the same
one: python -m image_classification.deploy.formats.tflite ONNX TFLITE

The input has the channels last, like the output of LiteRT's own image tools.
"""
import os
import sys
from pathlib import Path

from image_classification.datasets.preprocess import Preprocess
from image_classification.deploy.export_directory import TFLITE
from image_classification.deploy.formats.phone import factors, numbers

HEADING, NEEDS, MODULE = 'LiteRT', ('paddle2onnx', 'onnx', 'onnxruntime', 'ai_edge_litert', 'tensorflow'), 'formats.tflite'
_KOTLIN = '''The file takes channels last: {dtype} (1, {size}, {size}, {channels}), whatever `inference.yaml` says.

Kotlin, with the packages `org.tensorflow:tensorflow-lite` and `tensorflow-lite-support`, and {file} in the assets:

```kotlin
val net = Interpreter(FileUtil.loadMappedFile(context, "{file}"), Interpreter.Options().setNumThreads(2))
val input = ByteBuffer.allocateDirect({bytes} * {size} * {size} * {channels}).order(ByteOrder.nativeOrder())
{fill}
val output = ByteBuffer.allocateDirect(net.getOutputTensor(0).numBytes()).order(ByteOrder.nativeOrder())
net.run(input, output)
val scores = FloatArray(output.capacity() / 4).also {{ output.rewind(); output.asFloatBuffer().get(it) }}
```
'''
_FILL = '''val mean = floatArrayOf({mean})
val normal = floatArrayOf({normal})
for (pixel in pixels)                                        // of a bitmap of {size} x {size}, from getPixels
    for ((c, shift) in intArrayOf({shifts}).withIndex())
        input.putFloat(((pixel shr shift and 255) - mean[c]) * normal[c])'''
_FILL_PIXELS = '''for (pixel in pixels)                                        // of a bitmap of {size} x {size}, from getPixels
    for (shift in intArrayOf({shifts}))
        input.put((pixel shr shift and 255).toByte())'''
_OTHERS = '''
Swift, with the pod `TensorFlowLiteSwift`:

```swift
let net = try Interpreter(modelPath: path)                   // of {file} in the bundle
try net.allocateTensors()
try net.copy(data, toInputAt: 0)                             // Data of the same numbers
try net.invoke()
let scores = try net.output(at: 0).data.withUnsafeBytes {{ Array($0.bindMemory(to: Float32.self)) }}
```

C++:

```cpp
auto model = tflite::FlatBufferModel::BuildFromFile("{file}");
tflite::ops::builtin::BuiltinOpResolver operators;
std::unique_ptr<tflite::Interpreter> net;
tflite::InterpreterBuilder(*model, operators)(&net, 2);     // 2 threads
net->AllocateTensors();
std::memcpy(net->typed_input_tensor<{kind}>(0), values, {bytes} * {size} * {size} * {channels});
net->Invoke();
const float* scores = net->typed_output_tensor<float>(0);
```
'''


def files(directory):
    """The files that `write` writes."""
    return [directory / TFLITE]


def guide(content):
    """The code that loads and runs the file, in Markdown."""
    preprocess, as_pixels = Preprocess.from_dict(content['preprocessing']), content['input']['layout'] == 'NHWC'
    means, normals = factors(preprocess)
    shifts = {1: '16', 3: '16, 8, 0' if as_pixels or preprocess.color_order == 'RGB' else '0, 8, 16', 4: '16, 8, 0, 24'}
    values = {'file': TFLITE, 'size': preprocess.image_size, 'channels': preprocess.channels, 'mean': numbers(means),
              'normal': numbers(normals), 'shifts': shifts[preprocess.channels], 'bytes': 1 if as_pixels else 4,
              'kind': 'uint8_t' if as_pixels else 'float', 'dtype': content['input']['dtype']}
    fill = (_FILL_PIXELS if as_pixels else _FILL).format(**values)
    return _KOTLIN.format(fill=fill, **values) + _OTHERS.format(**values)


def write(source, target):
    """Convert an ONNX file."""
    Path(target).write_bytes(converter_of(source).convert())


def converter_of(source):
    """TensorFlow's converter for an ONNX file with fixed shapes, ready to be configured and called."""
    os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
    os.environ.setdefault('CUDA_VISIBLE_DEVICES', '-1')
    import onnx
    import tensorflow as tf

    from image_classification.deploy.formats.tflite_graph import Graph
    model = onnx.load(str(source))
    given = model.graph.input[0]
    sides = [entry.dim_value for entry in given.type.tensor_type.shape.dim]
    pixels = given.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    if not pixels:
        sides = [sides[0], *sides[2:], sides[1]]
    names = [entry.name for entry in model.graph.output]

    @tf.function(input_signature=[tf.TensorSpec(sides, tf.uint8 if pixels else tf.float32, given.name)], autograph=False)
    def network(image):
        return dict(zip(names, Graph(model).run(image, last=not pixels)))
    holder = tf.Module()
    holder.network = network
    return tf.lite.TFLiteConverter.from_concrete_functions([network.get_concrete_function()], holder)


if __name__ == '__main__':
    write(*sys.argv[1:])
