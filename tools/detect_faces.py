"""Find faces in pictures: python tools/detect_faces.py photo.jpg folder/ --weights blazeface.pth --output found"""
import command_setup  # noqa: F401  (first: before Paddle is imported)

import csv
import io
import os
import sys
from pathlib import Path

import numpy as np
from PIL import ImageDraw, ImageFont
from tqdm import tqdm

from image_classification.blazeface.detector import COLUMNS, KEY_POINTS, BlazeFaceDetector
from image_classification.config.bounds import SHARE
from image_classification.config.options import Parser
from image_classification.datasets.images import open_image
from image_classification.datasets.pictures import find_images
from image_classification.errors import UserError, exit_with_message
from image_classification.files import write_atomically
from image_classification.names.text import as_json
from image_classification.progress import progress_bar

from predict import PROGRESS_FROM, encoded

PUBLISHED = {'blazeface_front': 'blazeface.pth', 'blazeface_back': 'blazefaceback.pth'}
SOURCE = 'https://github.com/hollance/BlazeFace-PyTorch'           # Apache 2.0
BOX, POINT = (0, 200, 0), (255, 60, 60)                            # colours


def parse(argv):
    parser = Parser(description='Find faces, print where they are, and draw them into copies of the pictures.')
    parser.add_argument('images', nargs='+', help='files, folders (searched to any depth) and quoted patterns')
    parser.add_argument('--weights', help="weights file of the network, or 'default' to download the published weights")
    parser.add_argument('--model', choices=list(PUBLISHED), default='blazeface_front',
                        help='blazeface_front for faces near the camera (the default), blazeface_back for smaller ones')
    parser.add_argument('--output', default='faces', help='directory for the drawn copies; default: faces')
    parser.add_argument('--format', choices=list(FORMATS), default='table', help='default: table')
    parser.add_argument('--min-score', type=float, bounds=SHARE,
                        help="lowest score of a face, 0 to 1; default: the network's own threshold")
    return parser.parse_args(argv)


def detector_of(args):
    if not args.weights:
        raise UserError(f'no --weights: without them {args.model} finds nothing. The published ones are '
                        f'{PUBLISHED[args.model]} of {SOURCE}: give --weights default to fetch them, or the path of the file')
    return BlazeFaceDetector.from_weights(args.model, args.weights, min_score=args.min_score)


def names_of_copies(files, directory):
    """{file: DIR/<its name>_faces.png}. A number is added if another copy or one of the files has this name."""
    inputs = {os.path.realpath(file) for file in files}
    copies, taken = {}, set()
    for file in files:
        number, stem = 1, Path(file).stem
        while True:
            name = f'{stem}_faces.png' if number == 1 else f'{stem}_faces_{number}.png'
            path = os.path.join(directory, name)
            if name.lower() not in taken and os.path.realpath(path) not in inputs:
                break
            number += 1
        copies[file] = path
        taken.add(name.lower())                                    # some file systems ignore case
    return copies


def draw(image, faces):
    """A copy of a PIL image with boxes, key points and scores drawn in. `faces`: (faces, 17), in pixels."""
    copy = image.copy()
    pen = ImageDraw.Draw(copy)
    line = max(1, round(max(copy.size) / 300))
    font = ImageFont.load_default(max(10, round(max(copy.size) / 40)))
    for face in faces:
        (ymin, xmin), (ymax, xmax) = np.sort(face[:4].reshape(2, 2), axis=0)      # Pillow refuses a negative size
        pen.rectangle([xmin, ymin, xmax, ymax], outline=BOX, width=line)
        for x, y in face[4:-1].reshape(-1, 2):
            pen.ellipse([x - line, y - line, x + line, y + line], fill=POINT)
        text = f'{face[-1]:.2f}'
        left, top, right, bottom = pen.textbbox((0, 0), text, font=font)
        y = ymin - bottom - line if ymin >= bottom + line else ymin + line  # above the box, or within it at the upper border
        pen.text((max(0, xmin), y), text, fill=BOX, font=font)
    return copy


def save_png(image, path):
    write_atomically(path, lambda temporary: image.save(temporary, 'PNG'), 'Choose another --output.')


def as_table(found):
    lines = ['score    ymin    xmin    ymax    xmax  file']
    for file, _, faces in found:
        lines += [f'{face[-1]:5.3f}{"".join(f"{value:8.1f}" for value in face[:4])}  {file}' for face in faces]
        if not len(faces):
            lines.append(f'{"-":>5}{"no face":>32}  {file}')
    lines += [f'drawn: {copy}' for _, copy, _ in found]
    return '\n'.join(lines) + '\n'


def as_csv(found):
    text = io.StringIO()
    writer = csv.writer(text, lineterminator='\n')
    writer.writerow(['file', *COLUMNS])
    writer.writerows([file, *(f'{value:.2f}' for value in face[:-1]), f'{face[-1]:.6f}'] for file, _, faces in found
                     for face in faces)
    return text.getvalue()


def as_list(found):
    content = [{'file': file, 'drawn': copy, 'faces': [_face(face) for face in faces]} for file, copy, faces in found]
    return as_json(content, indent=1) + '\n'


def _face(face):
    places = [round(float(value), 2) for value in face[:-1]]
    points = {name: places[4 + 2 * i:6 + 2 * i] for i, name in enumerate(KEY_POINTS)}      # x, y
    return {'score': round(float(face[-1]), 6), **dict(zip(COLUMNS[:4], places)), 'key_points': points}


FORMATS = {'table': as_table, 'json': as_list, 'csv': as_csv}


@exit_with_message
def main(argv=None):
    args = parse(argv)
    notes = []
    files = find_images(args.images, notes)
    for note in notes:
        print(note, file=sys.stderr)
    detector = detector_of(args)
    copies = names_of_copies(files, args.output)
    try:
        os.makedirs(args.output, exist_ok=True)
    except OSError as error:
        raise UserError(f'cannot make the directory {args.output}: {error.strerror}. Choose another --output.') from None
    found, unreadable = [], 0
    for file in progress_bar(files, len(files), 'detect', enabled=len(files) > PROGRESS_FROM):
        try:
            image = open_image(file)
        except UserError as error:
            tqdm.write(f'error: {error}', file=sys.stderr)
            unreadable += 1
            continue
        faces = detector.detect(np.asarray(image))
        save_png(draw(image, faces), copies[file])
        found.append((file, copies[file], faces))
    sys.stdout.buffer.write(encoded(FORMATS[args.format](found)))
    sys.stdout.flush()
    if unreadable:
        raise UserError(f'{unreadable} of {len(files)} images could not be read; see above')


if __name__ == '__main__':
    main()
