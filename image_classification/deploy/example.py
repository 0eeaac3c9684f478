"""Writes example.py beside inference.onnx: ten lines that classify a picture with numpy, Pillow and ONNX Runtime."""
from math import floor

from image_classification.datasets.images import MODES
from image_classification.datasets.preprocess import Preprocess
from image_classification.deploy.export_directory import EXAMPLE, ONNX

_HEAD = '''"""{doc}: python {file} photo.jpg    (pip install numpy Pillow onnxruntime)"""
import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

image = ImageOps.exif_transpose(Image.open(sys.argv[1])).convert({mode!r})
image = image.resize([int(side * {short} / min(image.size)) for side in image.size], Image.Resampling.{interpolation})
left, top = round((image.width - {size}) / 2), round((image.height - {size}) / 2)
pixels = np.asarray(image.crop((left, top, left + {size}, top + {size}))).reshape({size}, {size}, {channels})
{pixels}
session = onnxruntime.InferenceSession(str(Path(__file__).with_name({onnx!r})), providers=['CPUExecutionProvider'])
{outputs} = session.run(None, {{session.get_inputs()[0].name: batch}})
'''
_FLOAT = '''mean, std = np.float32({mean}), np.float32({std})
batch = ((pixels / np.float32(255) - mean) / std){order}.transpose(2, 0, 1)[None]    # (1, C, H, W)'''
_UINT8 = 'batch = pixels[None]    # (1, H, W, C): the rest is part of the network'
_CLASSES = '''names = json.loads(session.get_modelmeta().custom_metadata_map.get('class_names', '[]'))
{softmax}for best in np.argsort(-scores, kind='stable')[:5]:
    print(f'{{scores[best] / scores.sum():.4f}}  {{names[best] if names else best}}')
'''
_SOFTMAX = '''scores = np.exp((scores - scores.max()) / {temperature})
'''
_OTHERS = '''for value, output in zip(session.get_outputs(), outputs):
    print(value.name, output.shape)
'''


def write_example(directory):
    """Write example.py into an ExportDirectory, following its inference.yaml. Does nothing without an inference.onnx."""
    if not (directory / ONNX).is_file():
        return
    content = directory.read()
    preprocess, output = Preprocess.from_dict(content['preprocessing']), content['output']
    as_pixels = content['input']['layout'] == 'NHWC'
    order = preprocess.order
    turned = '' if order == slice(None) else f'[..., {order}]'
    classifies = output['kind'] in ('logits', 'probabilities')
    temperature = content.get('calibration', {}).get('temperature', 1.0)
    text = _HEAD.format(
        doc=f'{"Classify a picture by" if classifies else "Run"} {content["name"]}', file=EXAMPLE, onnx=ONNX,
        mode=MODES[preprocess.channels], short=floor(preprocess.image_size / preprocess.crop_pct),
        interpolation=preprocess.interpolation.upper(), outputs='[[scores]]' if classifies else 'outputs',
        size=preprocess.image_size, channels=preprocess.channels,
        pixels=_UINT8 if as_pixels else _FLOAT.format(mean=list(preprocess.mean), std=list(preprocess.std), order=turned))
    if classifies:
        text += _CLASSES.format(softmax=_SOFTMAX.format(temperature=temperature) if output['kind'] == 'logits' else '')
    else:
        text = text.replace('import json\n', '') + _OTHERS
    (directory / EXAMPLE).write_text(text, encoding='utf-8')
