"""Converts an ONNX file with fixed shapes to inference.ncnn.param and .bin, with pnnx, ncnn's own converter. A program of its
own: python -m image_classification.deploy.formats.ncnn ONNX PARAM BIN

pnnx is run as a program. Its Python package needs PyTorch, the program does not.
"""
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from image_classification.datasets.preprocess import Preprocess
from image_classification.deploy.export_directory import NCNN, NCNN_WEIGHTS
from image_classification.deploy.formats.phone import factors, numbers
from image_classification.files import temporary_directory

HEADING, NEEDS, MODULE = 'ncnn', ('paddle2onnx', 'onnx', 'onnxruntime', 'pnnx', 'ncnn'), 'formats.ncnn'
NO_PIXELS = 'whose input is always float32: ncnn::Mat::from_pixels makes it of pixels'
_GUIDE = '''C++ (Android: through JNI; iOS: the same lines in an Objective-C++ file, which Swift calls):

```cpp
#include <ncnn/net.h>

ncnn::Net net;
net.opt.num_threads = 2;
net.opt.use_fp16_arithmetic = false;                         // float32, as it was compared; true is faster on ARM
net.opt.use_fp16_storage = net.opt.use_fp16_packed = net.opt.use_bf16_storage = false;
net.load_param("{param}");                       // on Android load_param(assets, "{param}")
net.load_model("{weights}");
ncnn::Mat input = ncnn::Mat::from_pixels(picture, ncnn::Mat::{kind}, {size}, {size});   // scaled and cut as above
const float mean[] = {{{mean}}}, normal[] = {{{normal}}};
input.substract_mean_normalize(mean, normal);
ncnn::Extractor extractor = net.create_extractor();
extractor.input("in0", input);
ncnn::Mat scores;
extractor.extract("out0", scores);                           // {outputs}
```

Kotlin: `external fun classify(assets: AssetManager, picture: Bitmap): FloatArray`, whose C++ side has the lines above and
`ncnn::Mat::from_android_bitmap(env, picture, ncnn::Mat::{kind_of_bitmap})` in place of `from_pixels`.
'''


def main(source, param, weights):
    """Convert an ONNX file."""
    program = Path(find_spec('pnnx').submodule_search_locations[0]) / ('pnnx.exe' if sys.platform == 'win32' else 'pnnx')
    with temporary_directory() as scratch:
        model = Path(scratch) / 'model.onnx'
        shutil.copyfile(source, model)
        done = subprocess.run([str(program), model.name, 'fp16=0'], cwd=scratch, capture_output=True, text=True,
                              errors='replace')
        lines = (done.stdout + done.stderr).splitlines()
        left_out = [line for line in lines if line.startswith('ignore ')]      # pnnx goes on without such a layer
        made = [Path(scratch) / f'model.ncnn.{ending}' for ending in ('param', 'bin')]
        if left_out or done.returncode or not all(path.is_file() for path in made):
            raise SystemExit('ValueError: pnnx cannot convert it: '
                             + '; '.join(left_out[:3] or lines[-1:] or [f'exit code {done.returncode}']))
        for path, target in zip(made, (param, weights)):
            shutil.copyfile(path, target)


def files(directory):
    """The files that `main` writes."""
    return [directory / NCNN, directory / NCNN_WEIGHTS]


def guide(content):
    """The code that loads and runs the files, in Markdown."""
    preprocess, output = Preprocess.from_dict(content['preprocessing']), content['output']
    means, normals = factors(preprocess)
    wanted = {1: 'GRAY', 3: preprocess.color_order, 4: 'RGBA'}[preprocess.channels]
    given = 'RGBA' if preprocess.channels > 1 else 'GRAY'
    outputs = 'scores.w numbers' if 'shapes' not in output else f'out0 to out{len(output["shapes"]) - 1}, in the order above'
    return _GUIDE.format(param=NCNN, weights=NCNN_WEIGHTS, size=preprocess.image_size, mean=numbers(means),
                         normal=numbers(normals), kind=f'PIXEL_{wanted}', outputs=outputs,
                         kind_of_bitmap=f'PIXEL_{given}' if given == wanted else f'PIXEL_RGBA2{wanted}')


if __name__ == '__main__':
    main(*sys.argv[1:])
