"""Shared parts of the formats for phones: the files that go into an app beside an engine's own file.

These are labels.txt, with a class per line, and README.md, which says how a picture becomes the input, what the output means,
and for each engine how to load its file.
"""
from importlib.metadata import PackageNotFoundError, distributions, version
from importlib.util import find_spec
from math import floor
from pathlib import Path

from image_classification.datasets.preprocess import Preprocess
from image_classification.deploy.export_directory import LABELS, PHONE_GUIDE
from image_classification.errors import UserError, missing_package
from image_classification.names.text import shown

_HEAD = '''# {name} for phones

Made by Mobile Backbones for PaddlePaddle {version}. `inference.yaml` says the same for programs.

## Input

{input}

1. Turn the picture upright (EXIF orientation). Scale it so that its shorter side has {short} pixels ({interpolation});
   cut {size} x {size} pixels out of the middle. Colours in the order {order}.
2. {pixels}

## Output

{output}

## Compared with the network

{compared}
'''
_TRAINED = 'on random pictures, before the file was written'


def check_installed(format, packages):
    """Raise UserError if one of the packages that write a format is missing."""
    missing = [package for package in packages if not find_spec(package)]
    if missing:
        raise missing_package(f'--format {format} needs {", ".join(missing)}, which', format)


def versions(packages):
    """The packages with their versions, as text: 'MNN 3.6.1, ...'."""
    found = []
    for package in packages:
        try:
            found.append(f'{package} {version(package)}')
        except PackageNotFoundError:                               # a package named <name>-cpu, or a build without metadata
            found += [f'{package} {one.version}' for one in distributions(name=f'{package}-cpu')][:1] or [package]
    return ', '.join(found)


def factors(preprocess):
    """(means, normals) per channel, in the network's order of colours: the input is (pixel - mean) * normal, pixels 0..255."""
    order = range(preprocess.channels) if preprocess.order == slice(None) else preprocess.order
    return [255 * preprocess.mean[i] for i in order], [1 / (255 * preprocess.std[i]) for i in order]


def numbers(values):
    """The values as float literals of C++, separated by commas."""
    texts = [f'{value:.9g}' for value in values]
    return ', '.join(f'{text}f' if '.' in text or 'e' in text else f'{text}.0f' for text in texts)


def write_phone_files(directory, content, guides):
    """Write labels.txt and README.md into an ExportDirectory.

    Args:
        content: the content of inference.yaml, with the results of verification.
        guides: {heading: text in Markdown} for each engine.
    """
    names = content['class_names']
    if names:
        lines = [shown(' '.join(str(name).split())) for name in names]
        Path(directory / LABELS).write_text('\n'.join(lines) + '\n', encoding='utf-8')
    preprocess = Preprocess.from_dict(content['preprocessing'])
    text = _HEAD.format(
        name=content['name'], version=content['versions']['paddle_mobile_backbones'], input=_input(content),
        short=floor(preprocess.image_size / preprocess.crop_pct), size=preprocess.image_size,
        interpolation=preprocess.interpolation, order=_colours(preprocess, content), pixels=_pixels(preprocess, content),
        output=_output(content), compared=_compared(content))
    text += ''.join(f'\n## {heading}\n\n{guide.strip()}\n' for heading, guide in guides.items())
    Path(directory / PHONE_GUIDE).write_text(text, encoding='utf-8')


def _input(content):
    given = content['input']
    size, channels = given['image_size'], given['channels']
    shape = f'(1, {size}, {size}, {channels})' if given['layout'] == 'NHWC' else f'(1, {channels}, {size}, {size})'
    batch = 'one picture at a time' if given.get('batch') else 'one picture or more'
    return f'`{given["name"]}`: {given["dtype"]} {shape}, {given["layout"]}; {batch}, ' \
           f'{"any size that the network takes" if given["free_size"] else "of no other size"}.'


def _colours(preprocess, content):
    if preprocess.channels == 1:
        return 'grey'
    as_pixels = content['input']['layout'] == 'NHWC'
    return 'RGB' if as_pixels else preprocess.color_order + 'A' * (preprocess.channels == 4)


def _pixels(preprocess, content):
    if content['input']['layout'] == 'NHWC':
        return 'That is all: the pixels go in as they are, 0 to 255; scaling and normalizing are part of the network.'
    means, normals = factors(preprocess)
    rows = ', '.join(f'({mean:.6g}, {normal:.8g})' for mean, normal in zip(means, normals))
    return ('Each channel becomes `(pixel - mean) * normal`, pixels 0 to 255; (mean, normal) of the channels in that order: '
            f'{rows}.')


def _output(content):
    output = content['output']
    if 'shapes' in output:
        rows = [f'- `{name}`: {tuple(shape)}' for name, shape in zip(output['names'], output['shapes'])]
        return '\n'.join([f'Float32 {"feature maps" if output["kind"] == "maps" else "tensors"}, in this order:', '', *rows])
    count, temperature = output['num_classes'], content['calibration']['temperature']
    known = f'Number i is the class in line i + 1 of `{LABELS}`.'
    names = known if content['class_names'] else 'The classes have no names here.'
    if output['kind'] == 'probabilities':
        return f'Probabilities, float32 (1, {count}), which add up to 1. {names}'
    divided = f', each divided by {temperature:.6g} before' if temperature != 1.0 else ''
    return f'Logits, float32 (1, {count}): a softmax turns them into probabilities{divided}. {names}'


def _compared(content):
    rows = []
    for engine, found in content['engines'].items():
        largest = max(difference['relative'] for difference in found['differences'].values())
        rows.append(f'- {engine}: the largest difference is {largest:.1e} of the standard deviation of the output')
    return '\n'.join([f'Run on a computer, {_TRAINED}:', '', *rows])


def refuse_pixels(format, why):
    """The UserError to raise for --preprocess with a format whose engine takes only floats."""
    return UserError(f'--preprocess with --format {format}, {why}; wanted --format {format} alone: the README.md of the export '
                     'has the lines that turn pixels into its input')
