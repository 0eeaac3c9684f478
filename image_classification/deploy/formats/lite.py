"""Writes an export for Paddle-Lite: mends the older program format for it and checks the operators. If a Python 3.7 has
Paddle-Lite, its opt makes the file for phones; otherwise the export has the command that makes it."""
from pathlib import Path

from image_classification.cpu.paddle_internals import mended_for_paddle_lite, operators_of_older_program
from image_classification.datasets.preprocess import Preprocess
from image_classification.deploy.engines.paddle_lite import VARIABLE, convert, python_of_paddle_lite
from image_classification.deploy.export_directory import GUIDE, LITE, OLDER_PROGRAM, PREFIX, WEIGHTS
from image_classification.deploy.formats.phone import factors, numbers
from image_classification.errors import UserError

_WITHOUT_KERNEL = {'pad3d'}                                        # documented, but Paddle-Lite 2.12 refuses it

HEADING = 'Paddle-Lite'

LIST = Path(__file__).with_name('lite_operators.txt')
COMMAND = (f'paddle_lite_opt --model_file={OLDER_PROGRAM} --param_file={WEIGHTS} --optimize_out_type=naive_buffer '
           f'--optimize_out={PREFIX} --valid_targets=arm')
_CPP = '''C++, Paddle-Lite 2.12:

```cpp
#include "paddle_api.h"
using namespace paddle::lite_api;

MobileConfig config;
config.set_model_from_file("{file}");
config.set_power_mode(LITE_POWER_HIGH);
config.set_threads(2);
std::shared_ptr<PaddlePredictor> net = CreatePaddlePredictor<MobileConfig>(config);
std::unique_ptr<Tensor> input = net->GetInput(0);
input->Resize({{{shape}}});
{fill}
net->Run();
std::unique_ptr<const Tensor> output = net->GetOutput(0);
const float* scores = output->data<float>();
```
'''
_PIXELS = 'std::memcpy(input->mutable_data<uint8_t>(), bytes, {size} * {size} * {channels});   // scaled and cut as above'
_PICTURE = '''const float mean[] = {{{mean}}}, normal[] = {{{normal}}};
float* values = input->mutable_data<float>();                // bytes: {size} x {size} pixels of {channels}, in the order above
for (int c = 0; c < {channels}; ++c)
  for (int i = 0; i < {size} * {size}; ++i)
    values[c * {size} * {size} + i] = (bytes[i * {channels} + c] - mean[c]) * normal[c];'''
_KOTLIN = '''
Kotlin, with PaddlePredictor.jar of the same release:

```kotlin
val config = MobileConfig().apply {{
    modelFromFile = path                                     // of {file}, copied from the assets
    powerMode = PowerMode.LITE_POWER_HIGH
    threads = 2
}}
val net = PaddlePredictor.createPaddlePredictor(config)
val input = net.getInput(0)
input.resize(longArrayOf({shape}))
input.setData(values)                                        // a FloatArray, filled as in C++
net.run()
val scores = net.getOutput(0).floatData
```
'''


def documented():
    """{operator: 'base' or 'extra'} for the operators that Paddle-Lite documents for ARM CPUs."""
    lines = [line.split(': ') for line in LIST.read_text().splitlines() if not line.startswith('#')]
    return {name: kind for kind, names in lines for name in names.split()}


def mend(directory):
    """Mend the program in an export directory, so that Paddle-Lite accepts it."""
    program = directory / OLDER_PROGRAM
    program.write_bytes(mended_for_paddle_lite(program.read_bytes()))


def write_guide(directory, name, allow_unsupported=False):
    """Write GUIDE into an export directory. Returns the entries of inference.yaml about Paddle-Lite.

    Raises:
        UserError: the program has operators that Paddle-Lite does not document for ARM, unless `allow_unsupported`.
    """
    known, found = documented(), operators_of_older_program((directory / OLDER_PROGRAM).read_bytes())
    unsupported = [operator for operator in found if operator not in known or operator in _WITHOUT_KERNEL]
    if unsupported and not allow_unsupported:
        raise UserError(f'{name} uses {", ".join(unsupported)}, which Paddle-Lite does not document for ARM (see {LIST.name}); '
                        'wanted documented operators only. Choose another network or format, or write it all the same by '
                        '--allow-unsupported, for a Paddle-Lite of your own.')
    extra = [operator for operator in found if known.get(operator) == 'extra']
    lines = [f'{name} for Paddle-Lite. With Python 3.7 and `pip install paddlelite numpy`, in this directory:', '', COMMAND, '',
             f'It writes {PREFIX}.nb, which the library on the phone loads.',
             f'Operators: {", ".join(found)}.',
             f'Beyond the basic ones, so take a library that is built with extra operators: {", ".join(extra) or "none"}.',
             f'Not documented for ARM: {", ".join(unsupported) or "none"}.']
    (directory / GUIDE).write_text('\n'.join(lines) + '\n', encoding='utf-8')
    return {'command': COMMAND, 'extra_operators': extra, 'unsupported_operators': unsupported}


def write(directory):
    """Convert the mended program of an ExportDirectory, if a Python 3.7 has Paddle-Lite. Returns the entry of inference.yaml.

    Raises:
        UserError: the opt of Paddle-Lite refuses the program.
    """
    if python_of_paddle_lite() is None:
        return {'converted': False}
    convert(directory / OLDER_PROGRAM, directory / WEIGHTS, directory / PREFIX, 'arm')
    return {'converted': True}


def guide(content):
    """The code that loads and runs the file, in Markdown."""
    preprocess, as_pixels = Preprocess.from_dict(content['preprocessing']), content['input']['layout'] == 'NHWC'
    means, normals = factors(preprocess)
    size, channels = preprocess.image_size, preprocess.channels
    values = {'file': LITE, 'size': size, 'channels': channels, 'mean': numbers(means), 'normal': numbers(normals),
              'shape': f'1, {size}, {size}, {channels}' if as_pixels else f'1, {channels}, {size}, {size}'}
    text = '' if content['lite']['converted'] else (
        f'`{LITE}` is not here yet: no Python 3.7 with the package paddlelite was found ({VARIABLE} names one). `{GUIDE}` '
        'has the command that makes it; it has not been run in Paddle-Lite.\n\n')
    text += _CPP.format(fill=(_PIXELS if as_pixels else _PICTURE).format(**values), **values)
    return text if as_pixels else text + _KOTLIN.format(**values)
