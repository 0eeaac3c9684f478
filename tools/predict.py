"""Classify images: python tools/predict.py output/<run>/export photo.jpg folder/ 'more/*.png'"""
import argparse
import csv
import glob
import io
import json
import os
import re
import sys
import unicodedata
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tqdm import tqdm  # noqa: E402

from image_classification.datasets.files import IMAGE_ENDINGS  # noqa: E402
from image_classification.deploy.predictor import ENGINES, Predictor  # noqa: E402
from image_classification.errors import UserError, exit_with_message  # noqa: E402
from image_classification.files import write_atomically  # noqa: E402
from image_classification.progress import progress_bar  # noqa: E402

PROGRESS_FROM = 50                                                 # images


def parse():
    parser = argparse.ArgumentParser(description='Classify images with a checkpoint or an export.')
    parser.add_argument('model', help='a checkpoint (.safetensors) or the directory of an export')
    parser.add_argument('images', nargs='+', help='files, folders (searched to any depth) and quoted patterns')
    parser.add_argument('--top-k', type=int, default=5, help='classes per image; default: 5')
    parser.add_argument('--format', choices=list(FORMATS), default='table', help='default: table')
    parser.add_argument('--output', help='file to write instead of the screen')
    parser.add_argument('--batch-size', type=int, default=32, help='images that pass the network at once; default: 32')
    parser.add_argument('--engine', choices=ENGINES, default='auto',
                        help='paddle for a checkpoint, inference for an export; default: auto, the one that fits')
    return parser.parse_args()


def find_images(names):
    """The files that names, folders and patterns mean, in natural order, each once."""
    found = {}
    for name in names:
        if os.path.isfile(name):
            files = [name]                                         # whatever its ending: it was asked for
        elif os.path.isdir(name):
            files = _below(name)
        else:
            matches = glob.glob(name, recursive=True)
            files = [file for match in matches for file in (_below(match) if os.path.isdir(match) else [match])
                     if file.lower().endswith(IMAGE_ENDINGS)]
        if not files:
            kind = 'has no images in it' if os.path.isdir(name) else 'is no file and no folder, and matches no image'
            raise UserError(f'{name} {kind}; wanted files of {", ".join(IMAGE_ENDINGS)}')
        for file in files:
            found.setdefault(os.path.abspath(file), file)
    return sorted(found.values(), key=_natural)


def _below(folder):
    return [os.path.join(directory, file) for directory, folders, files in os.walk(folder) for file in files
            if file.lower().endswith(IMAGE_ENDINGS) and not file.startswith('.')]


def _natural(name):
    """picture 2 before picture 10"""
    return [(int(part), '') if part.isdecimal() else (0, part) for part in re.split(r'(\d+)', name)]


def as_table(rows):
    rows = [('file', 'rank', 'class', 'probability'), *((file, str(rank), name, f'{p:.4f}') for file, rank, name, p in rows)]
    widths = [max(_width(row[column]) for row in rows) for column in range(3)]
    return ''.join('  '.join([*(text + ' ' * (width - _width(text)) for text, width in zip(row, widths)), row[3]]) + '\n'
                   for row in rows)


def _width(text):
    """Columns on a terminal: East Asian characters take two."""
    return sum(2 if unicodedata.east_asian_width(character) in 'WF' else 1 for character in text)


def as_csv(rows):
    text = io.StringIO()
    writer = csv.writer(text, lineterminator='\n')
    writer.writerow(['file', 'rank', 'class', 'probability'])
    writer.writerows([file, rank, name, f'{p:.6f}'] for file, rank, name, p in rows)
    return text.getvalue()


def as_json(rows):
    files = {}
    for file, _, name, p in rows:
        files.setdefault(file, []).append({'class': name, 'probability': round(p, 6)})
    content = [{'file': file, 'predictions': predictions} for file, predictions in files.items()]
    return json.dumps(content, ensure_ascii=False, indent=1) + '\n'


FORMATS = {'table': as_table, 'json': as_json, 'csv': as_csv}


def write(text, output):
    """To the screen, or to a file. Names of files may be of any encoding."""
    data = text.encode('utf-8', 'surrogateescape')
    if output is None:
        sys.stdout.buffer.write(data)
        sys.stdout.flush()
    else:
        write_atomically(output, lambda temporary: temporary.write_bytes(data), 'Choose another --output.')


@exit_with_message
def main():
    args = parse()
    if args.top_k < 1:
        raise UserError(f'--top-k is {args.top_k}; wanted at least 1')
    predictor = Predictor(args.model, args.engine, args.batch_size)
    files = find_images(args.images)
    rows, unreadable = [], 0
    results = predictor.predict_files(files)
    for file, result in progress_bar(results, len(files), 'predict', enabled=len(files) > PROGRESS_FROM):
        if isinstance(result, UserError):
            tqdm.write(f'error: {result}', file=sys.stderr)
            unreadable += 1
        else:
            rows += [(file, rank, *best) for rank, best in enumerate(predictor.top_k(result, args.top_k), 1)]
    write(FORMATS[args.format](rows), args.output)
    if unreadable:
        raise UserError(f'{unreadable} of {len(files)} images could not be read; see above')


if __name__ == '__main__':
    main()
