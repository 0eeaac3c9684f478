"""Classify pictures: python tools/predict.py output/<run>/export photo.jpg folder/ 'more/*.png' https://host/photo.jpg"""
import command_setup  # noqa: F401  (first: before Paddle is imported)

import argparse
import contextlib
import csv
import io
import json
import sys
import time
import unicodedata

from tqdm import tqdm

from image_classification.datasets.files import IMAGE_ENDINGS
from image_classification.datasets.pictures import find_pictures, open_picture
from image_classification.deploy.by_name import FORMS, open_predictor
from image_classification.deploy.predictor import ENGINES
from image_classification.drawing.contact_sheet import ContactSheet, thumbnail
from image_classification.errors import UserError, exit_with_message
from image_classification.files import write_atomically
from image_classification.progress import progress_bar

PROGRESS_FROM = 50                                                 # images
WORKERS = 2                                                        # threads that read and scale pictures
PICTURES = '''
pictures:
  photo.jpg             a file of any format that Pillow reads, turned as its EXIF orientation says
  folder/  'a/**/*.png' every picture below a folder, or that fits a pattern
  frame_%05d.jpg        numbered frames of a camera, in the order of their numbers
  https://host/a.jpg    an address, also http; within --max-download-mb and --timeout. Addresses of the local network are read
                        like any others: take no list of addresses from people whom you do not trust
  frames.txt            a list with a path or an address on each line; with --list, a file of any name, or - for standard input
  -                     the bytes of one picture on standard input
'''


def parse(argv):
    parser = argparse.ArgumentParser(description='Classify pictures with a checkpoint or an export.', epilog=PICTURES,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('model', help=FORMS)
    parser.add_argument('images', nargs='+', metavar='picture', help='see below')
    parser.add_argument('--list', action='store_true', help='the pictures given are lists of pictures')
    parser.add_argument('--weights', help='of a network by its name: a tag or a file; default: the first tag of README')
    parser.add_argument('--top-k', type=int, default=5, help='classes per image; default: 5')
    parser.add_argument('--format', choices=['table', 'json', 'csv'], default='table', help='default: table')
    parser.add_argument('--output', help='file to write instead of the screen')
    parser.add_argument('--contact-sheet', metavar='SHEET.png', help='a picture of all pictures, each with class and '
                                                                     'probability; further pages are SHEET-2.png, ...')
    parser.add_argument('--font', help='font file for the contact sheet, where it does not find one for your class names')
    parser.add_argument('--batch-size', type=int, default=32,
                        help='images that pass the network at once; 1 answers each line of standard input at once; default: 32')
    parser.add_argument('--engine', choices=ENGINES, default='auto',
                        help='paddle for a checkpoint; paddle_inference, onnxruntime or openvino for an export; default: auto, '
                             'the fastest that fits')
    parser.add_argument('--max-download-mb', type=float, default=64, help='of one address; default: 64')
    parser.add_argument('--timeout', type=float, default=30, help='seconds for one address; default: 30')
    return parser.parse_args(argv)


class Table:
    """Columns for a terminal, as wide as the longest class and the longest file. Files may be unknown: then they widen."""

    def __init__(self, files, classes):
        self._widths = [max([_width('file'), *map(_width, files)]), 4, max([_width('class'), *map(_width, classes)])]

    def head(self):
        return self._line('file', 'rank', 'class', 'probability')

    def item(self, file, best):
        self._widths[0] = max(self._widths[0], _width(file))
        return ''.join(self._line(file, str(rank), name, f'{p:.4f}') for rank, (name, p) in enumerate(best, 1))

    def _line(self, *texts):
        padded = [text + ' ' * (width - _width(text)) for text, width in zip(texts, self._widths)]
        return '  '.join([*padded, texts[3]]) + '\n'

    def tail(self):
        return ''


def _width(text):
    """Columns on a terminal: East Asian characters take two."""
    return sum(2 if unicodedata.east_asian_width(character) in 'WF' else 1 for character in text)


class Csv:
    """Values with commas between them; names with commas or quotes are quoted."""

    def head(self):
        return 'file,rank,class,probability\n'

    def item(self, file, best):
        text = io.StringIO()
        rows = ([file, rank, name, f'{p:.6f}'] for rank, (name, p) in enumerate(best, 1))
        csv.writer(text, lineterminator='\n').writerows(rows)
        return text.getvalue()

    def tail(self):
        return ''


class Json:
    """A list with an object for each file, on a line of its own."""

    def __init__(self):
        self._before = ''

    def head(self):
        return '['

    def item(self, file, best):
        before, self._before = self._before, ','
        content = {'file': file, 'predictions': [{'class': name, 'probability': round(p, 6)} for name, p in best]}
        return f'{before}\n {json.dumps(content, ensure_ascii=False)}'

    def tail(self):
        return '\n]\n'


class Picture:
    """What one name gives on its way: a thumbnail where there is a contact sheet."""

    def __init__(self, name):
        self.name, self.thumbnail = name, None


def classify(predictor, pictures, args):
    """Yield (Picture, probabilities or UserError); in memory are two batches, however many there are."""
    def prepare(picture):
        image = open_picture(picture.name, predictor.preprocess.channels, int(args.max_download_mb * 1e6), args.timeout)
        if args.contact_sheet:
            picture.thumbnail = thumbnail(image)
        return predictor.prepare(image)

    workers = WORKERS if args.batch_size > 1 else 0                # they would ask for the next line of standard input, too
    return predictor.predict_files(map(Picture, pictures), prepare, workers)


def report(results, predictor, args, form, sheet, stream):
    """Write each result as it comes -> (number of pictures, of those that could not be read)."""
    count = unreadable = 0
    room = tqdm.external_write_mode if stream is sys.stdout.buffer and sys.stdout.isatty() else contextlib.nullcontext
    stream.write(encoded(form.head()))
    for picture, result in results:
        count += 1
        if isinstance(result, UserError):
            tqdm.write(f'error: {result}', file=sys.stderr)
            unreadable += 1
            continue
        best = predictor.top_k(result, args.top_k)
        with room():                                               # a bar on the same terminal makes place for the lines
            stream.write(encoded(form.item(picture.name, best)))
            stream.flush()
        if sheet:
            sheet.add(picture.thumbnail, *best[0], picture.name)
    stream.write(encoded(form.tail()))
    stream.flush()
    if sheet:
        sheet.close()
    return count, unreadable


def encoded(text):
    """Names of files may be of any encoding."""
    return text.encode('utf-8', 'surrogateescape')


def run(predictor, pictures, args):
    """Classify, write, and say how fast -> (number of pictures, of those that could not be read)."""
    sheet = ContactSheet(args.contact_sheet, pictures.total, args.font) if args.contact_sheet else None
    files = [] if pictures.total is None else pictures
    form = {'table': lambda: Table(files, predictor.class_names), 'json': Json, 'csv': Csv}[args.format]()
    begin, counts = time.perf_counter(), []
    shown = pictures.total is None or pictures.total > PROGRESS_FROM
    with progress_bar(classify(predictor, pictures, args), pictures.total, 'predict', enabled=shown) as results:
        if args.output:
            def write(temporary):
                with open(temporary, 'wb') as stream:
                    counts[:] = report(results, predictor, args, form, sheet, stream)
            write_atomically(args.output, write, 'Choose another --output.')
        else:
            counts[:] = report(results, predictor, args, form, sheet, sys.stdout.buffer)
    seconds = time.perf_counter() - begin
    count, unreadable = counts
    good = count - unreadable
    if good:
        print(f'{good} image{"s" * (good != 1)} in {seconds:.2f} s, {good / seconds:.1f} images/s ({predictor.name}, '
              f'{predictor.engine}, batches of {args.batch_size})', file=sys.stderr)
    if sheet and sheet.pages:
        print(f'contact sheet: {sheet.pages[0]}{f" to {sheet.pages[-1].name}" if sheet.pages[1:] else ""}', file=sys.stderr)
    if sheet and sheet.unknown_letters:
        print(f'no font was found that knows {"".join(sorted(sheet.unknown_letters))[:20]}; give one by --font, e.g. '
              'NotoSansCJK-Regular.ttc', file=sys.stderr)
    return count, unreadable


def check(args):
    for flag, value, least in (('--top-k', args.top_k, 1), ('--timeout', args.timeout, 0),
                               ('--max-download-mb', args.max_download_mb, 0)):
        if not value >= least or not value:
            raise UserError(f'{flag} is {value}; wanted {"at least 1" if least else "more than 0"}')
    if args.output and args.output.lower().endswith(IMAGE_ENDINGS):
        raise UserError(f'--output {args.output} has the name of a picture; wanted a file for text, e.g. result.csv')
    if args.font and not args.contact_sheet:
        raise UserError('--font is for the labels of a --contact-sheet, which is not there')


@exit_with_message
def main(argv=None):
    args = parse(argv)
    check(args)
    predictor = open_predictor(args.model, args.weights, args.engine, args.batch_size)
    pictures = find_pictures(args.images, args.list)
    count, unreadable = run(predictor, pictures, args)
    if not count:
        raise UserError(f'{", ".join(args.images)} names no picture; wanted at least one')
    if unreadable:
        raise UserError(f'{unreadable} of {count} images could not be read; see above')


if __name__ == '__main__':
    main()
