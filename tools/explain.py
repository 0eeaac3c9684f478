"""Draw why a network chooses a class: python tools/explain.py output/<run>/best.safetensors photo.jpg --attention"""
import command_setup  # noqa: F401  (first: before Paddle is imported)

import difflib
import os
import sys
from pathlib import Path

import numpy as np
from tqdm import tqdm

from image_classification.checkpoint import load_network, named_network
from image_classification.config.bounds import brief
from image_classification.config.options import Parser
from image_classification.datasets.classes import same
from image_classification.datasets.imagenet_names import names_to_show
from image_classification.datasets.pictures import STANDARD_INPUT, find_pictures, open_picture
from image_classification.deploy.by_name import NAMED
from image_classification.errors import UserError, exit_with_message
from image_classification.explain import attention_maps, explain_class
from image_classification.explain.cam import finer_layer
from image_classification.explain.inputs import preprocess_of, seen_box
from image_classification.explain.sheets import attention_sheets, cam_sheet
from image_classification.files import unused, write_atomically
from image_classification.installation import tool
from image_classification.models import network_by_name
from image_classification.names.text import shown
from image_classification.progress import progress_bar
from image_classification.weights.catalogue import is_address

PROGRESS_FROM = 20                                                 # pictures
FEW = 3                                                            # a map with fewer pixels on a side shows little
LONGEST_STEM = 150                                                 # bytes of a picture's name that a sheet's name repeats
_DIGITS = 10                                                       # numbers have fewer
EXPORT_ENDINGS = ('.onnx', '.pdmodel', '.pdiparams', '.json', '.xml', '.nb')


def parse(argv):
    parser = Parser(description='Draw where a network looks: Grad-CAM of a class, and its attention.')
    parser.add_argument('model', help=f'a checkpoint (.safetensors), {NAMED}')
    parser.add_argument('images', nargs='+', metavar='picture',
                        help=f'files, folders, quoted patterns, addresses, ...: see {tool("predict")} -h')
    parser.add_argument('--class', dest='classes', action='append', default=[], metavar='CLASS',
                        help='name or number of a class; may be given several times; default: the most probable one')
    parser.add_argument('--layer', help='the layer whose map Grad-CAM uses, e.g. blocks.5; default: the last map')
    parser.add_argument('--attention', action='store_true', help='also draw attention, if the network has any')
    parser.add_argument('--pixel', metavar='X,Y', help='for attention among pixels, the pixel of the picture to draw it for; '
                                                       'default: the hottest one of Grad-CAM')
    parser.add_argument('--weights', help='tag or file for a network given by name; default: its first tag in docs/networks.md')
    parser.add_argument('--output', default='explained', help='folder for the pictures; default: explained')
    return parser.parse_args(argv)


def open_model(name, weights):
    """(network, names of its classes)"""
    path = Path(name)
    if os.path.exists(path / 'inference.yaml') or path.name == 'inference.yaml' or path.suffix in EXPORT_ENDINGS:
        raise UserError(f'{name} is an export, which runs without gradients and without layers to look into; wanted the '
                        'checkpoint that it was made from, e.g. best.safetensors beside it')
    named = network_by_name(name, weights)
    model, class_names = named_network(*named) if named else load_network(path)
    return model, list(model.class_names) or names_to_show(class_names, model.config.MODEL.NUM_CLASSES)


def find_class(text, names):
    """The number of the class with this name. If there is none, `text` may be the number itself."""
    known = {same(name): index for index, name in reversed(list(enumerate(names)))}
    if same(text) in known:
        return known[same(text)]
    if text.isdecimal() and len(text) < _DIGITS and int(text) < len(names):
        return int(text)
    close = difflib.get_close_matches(text, names, n=1, cutoff=0.0)
    raise UserError(f'no class is called {brief(text)}, nor is it a number below {len(names)}; the nearest name is '
                    f'{close[0]!r}')


def find_pixel(text):
    """(x, y) of 'X,Y'."""
    parts = (text or '').split(',')
    if len(parts) != 2 or not all(part.strip().isdecimal() and len(part) < _DIGITS for part in parts):
        raise UserError(f'--pixel is {brief(text)}; wanted X,Y: whole numbers, from the left and from above')
    return tuple(int(part) for part in parts)


def place_of(pixel, box, heat):
    """(row, column), 0 to 1, of a pixel (x, y) within `box`, the part that the network sees; by default the hottest pixel."""
    if pixel is None:
        row, column = np.argwhere(heat == heat.max()).mean(0)      # the centre if heat is uniform
        return (row + 0.5) / heat.shape[0], (column + 0.5) / heat.shape[1]
    left, top, right, bottom = box
    x, y = pixel
    if not (left <= x < right and top <= y < bottom):
        raise UserError(f'--pixel is {x},{y}; the network sees x from {left} to {right - 1} and y from {top} to {bottom - 1}')
    return (y + 0.5 - top) / (bottom - top), (x + 0.5 - left) / (right - left)


def explain(model, names, picture, args, indices, pixel):
    """(evidence for each class, {name of a sheet: RGB picture}) for a PIL image."""
    preprocess = preprocess_of(model)
    box = seen_box(preprocess, picture.size)
    evidences = [explain_class(model, picture, index, args.layer) for index in indices or [None]]
    sheets = {'cam': cam_sheet(picture, box, evidences, names)}
    if args.attention:
        place = place_of(pixel, box, evidences[0].heat)
        found = attention_sheets(preprocess.crop(picture), attention_maps(model, picture), place)
        sheets.update({kind.replace(' ', '-'): sheet for kind, sheet in found.items()})
    return evidences, sheets


def advise(model, picture, evidence):
    """Suggest a layer with a finer map if the map of the evidence has few pixels."""
    h, w = evidence.activation.shape[1:]
    finer = finer_layer(model, picture) if min(h, w) < FEW else None
    if finer:
        name, (rows, columns) = finer
        tqdm.write(f'note: Grad-CAM has a map of {h} x {w} pixels only; --layer {name} has {rows} x {columns}', file=sys.stderr)


def save(sheets, name, folder):
    """Write each sheet to <stem>-<sheet>.png, with a number if that file exists. Returns the paths."""
    stem = 'standard-input' if name == STANDARD_INPUT else Path(name.split('?')[0] if is_address(name) else name).stem
    stem, paths = os.fsencode(stem)[:LONGEST_STEM].decode('utf-8', 'replace'), []
    for kind, sheet in sheets.items():
        paths.append(unused(Path(folder) / f'{stem}-{kind}.png'))
        write_atomically(paths[-1], lambda temporary: sheet.save(temporary, 'PNG'), 'Choose another --output.')
    return paths


@exit_with_message
def main(argv=None):
    args = parse(argv)
    pixel = find_pixel(args.pixel) if args.pixel else None
    pictures = find_pictures(args.images)
    for note in pictures.notes:
        print(note, file=sys.stderr)
    model, names = open_model(args.model, args.weights)
    indices = [find_class(text, names) for text in args.classes]
    try:
        os.makedirs(args.output, exist_ok=True)
    except OSError as error:
        raise UserError(f'cannot make the folder {args.output}: {error.strerror}. Choose another --output.') from None
    many = pictures.total is None or pictures.total > PROGRESS_FROM
    count = bad = 0
    for name in progress_bar(pictures, pictures.total, 'explain', enabled=many):
        count += 1
        try:
            picture = open_picture(name, model.config.MODEL.IN_CHANNELS)
        except UserError as error:
            tqdm.write(f'error: {error}', file=sys.stderr)
            bad += 1
            continue
        evidences, sheets = explain(model, names, picture, args, indices, pixel)
        if count - bad == 1 and not args.layer:
            advise(model, picture, evidences[0])
        paths = save(sheets, name, args.output)
        said = ', '.join(f'{names[evidence.class_index]} {100 * evidence.probability:.1f} %' for evidence in evidences)
        tqdm.write(f'{shown(name)}  {said}  {"  ".join(map(str, paths))}')
    if bad:
        raise UserError(f'{bad} of {count} pictures could not be read; see above')


if __name__ == '__main__':
    main()
