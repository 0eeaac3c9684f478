"""Classify pictures: python tools/predict.py output/<run>/export photo.jpg folder/ 'more/*.png' https://host/photo.jpg"""
import command_setup  # noqa: F401  (first: before Paddle is imported)

import contextlib
import csv
import io
import sys
import time
import unicodedata
from argparse import RawDescriptionHelpFormatter
from dataclasses import dataclass

from tqdm import tqdm

from image_classification.config.options import BATCH, CLASSES, MEGABYTES, SECONDS, Parser
from image_classification.datasets.kinds import is_picture
from image_classification.datasets.pictures import find_pictures, label_from_folders, open_picture
from image_classification.deploy.by_name import FORMS, open_predictor
from image_classification.deploy.predictor import ENGINES
from image_classification.drawing.contact_sheet import ContactSheet, thumbnail
from image_classification.errors import UserError, exit_with_message
from image_classification.files import write_atomically
from image_classification.names.text import as_json
from image_classification.progress import progress_bar

PROGRESS_FROM = 50                                                 # images
WORKERS = 2                                                        # threads that read and scale pictures
PICTURES = '''
pictures:
  photo.jpg             a file of any format that Pillow reads, turned as its EXIF orientation says
  folder/  'a/**/*.png' every picture in a folder and its subfolders, or that matches a pattern
  frame_%05d.jpg        numbered frames of a camera, in the order of their numbers
  https://host/a.jpg    an address, also http; within --max-download-mb and --timeout. Addresses of the local network are read,
                        too: do not use lists of addresses from people whom you do not trust
  frames.txt            a list with a path or an address on each line; with --list, a file of any name, or - for standard input
  -                     the bytes of one picture on standard input
'''


def parse(argv):
    parser = Parser(description='Classify pictures with a checkpoint or an export.', epilog=PICTURES,
                                     formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument('model', help=FORMS)
    parser.add_argument('images', nargs='+', metavar='picture', help='see below')
    parser.add_argument('--list', action='store_true', help='the given files are lists of pictures')
    parser.add_argument('--weights', help='tag or file for a network given by name; default: its first tag in docs/networks.md')
    parser.add_argument('--top-k', type=int, default=5, bounds=CLASSES, help='classes per image; default: 5')
    parser.add_argument('--format', choices=['table', 'json', 'csv'], default='table', help='default: table')
    parser.add_argument('--output', help='file to write instead of the screen')
    parser.add_argument('--contact-sheet', metavar='SHEET.png', help='draw all pictures on one sheet, with class and '
                                                                     'probability; further pages are SHEET-2.png, ...')
    parser.add_argument('--labels-from-folders', action='store_true',
                        help='folders are named after the classes of their pictures: report how many predictions are right; '
                             'the contact sheet shows the wrong ones')
    parser.add_argument('--only-wrong', action='store_true', help='with --labels-from-folders: list wrong predictions only')
    parser.add_argument('--font', help='font file for the contact sheet, if it finds none for your class names')
    parser.add_argument('--batch-size', type=int, default=32, bounds=BATCH,
                        help='images in a batch; with 1, each line of standard input is answered immediately; default: 32')
    parser.add_argument('--engine', choices=ENGINES, default='auto',
                        help='paddle for a checkpoint; for an export, the engine whose files it has; default: auto, '
                             'the fastest that fits')
    parser.add_argument('--max-download-mb', type=float, default=64, bounds=MEGABYTES,
                        help='most MB from one address; default: 64')
    parser.add_argument('--timeout', type=float, default=30, bounds=SECONDS, help='seconds for one address; default: 30')
    return parser.parse_args(argv)


class Table:
    """Columns for a terminal, as wide as the longest class and file name. If files are not known in advance, columns widen."""

    def __init__(self, files, classes, labelled=False):
        self._widths = [max([_width('file'), *map(_width, files)]), 4, max([_width('class'), *map(_width, classes)]), 11]
        self._labelled = labelled

    def head(self):
        return self._line('file', 'rank', 'class', 'probability', *['label'] * self._labelled)

    def item(self, file, best, label=None):
        self._widths[0] = max(self._widths[0], _width(file))
        return ''.join(self._line(file, str(rank), name, f'{p:.4f}', *[label] * self._labelled)
                       for rank, (name, p) in enumerate(best, 1))

    def _line(self, *texts):
        padded = [text + ' ' * (width - _width(text)) for text, width in zip(texts[:-1], self._widths)]
        return '  '.join([*padded, texts[-1]]) + '\n'

    def tail(self):
        return ''


def _width(text):
    """Columns on a terminal: East Asian characters take two."""
    return sum(2 if unicodedata.east_asian_width(character) in 'WF' else 1 for character in text)


class Csv:
    """Comma-separated values. Names with commas or quotes are quoted."""

    def __init__(self, labelled=False):
        self._labelled = labelled

    def head(self):
        return 'file,rank,class,probability' + ',label' * self._labelled + '\n'

    def item(self, file, best, label=None):
        text = io.StringIO()
        rows = ([file, rank, name, f'{p:.6f}', *[label] * self._labelled] for rank, (name, p) in enumerate(best, 1))
        csv.writer(text, lineterminator='\n').writerows(rows)
        return text.getvalue()

    def tail(self):
        return ''


class Json:
    """A list with one object per file, each on its own line."""

    def __init__(self):
        self._before = ''

    def head(self):
        return '['

    def item(self, file, best, label=None):
        before, self._before = self._before, ','
        content = {'file': file, 'predictions': [{'class': name, 'probability': round(p, 6)} for name, p in best]}
        if label is not None:
            content['label'] = label
        return f'{before}\n {as_json(content)}'

    def tail(self):
        return '\n]\n'


class Picture:
    """The name of a picture and, for a contact sheet, its thumbnail."""

    def __init__(self, name):
        self.name, self.thumbnail = name, None


def classify(predictor, pictures, args):
    """Yield (Picture, probabilities or UserError). Only two batches are in memory at a time."""
    def prepare(picture):
        image = open_picture(picture.name, predictor.preprocess.channels, int(args.max_download_mb * 1e6), args.timeout)
        if args.contact_sheet:
            picture.thumbnail = thumbnail(image)
        return predictor.prepare(image)

    workers = WORKERS if args.batch_size > 1 else 0                # threads would wait for the next line of standard input
    return predictor.predict_files(map(Picture, pictures), prepare, workers)


@dataclass
class Counts:
    """Numbers of pictures: requested, unreadable, and classified correctly."""
    pictures: int = 0
    unreadable: int = 0
    right: int = 0

    @property
    def read(self):
        return self.pictures - self.unreadable


def report(results, predictor, args, form, sheet, stream):
    """Write each result as it arrives. Returns Counts."""
    counts = Counts()
    room = tqdm.external_write_mode if stream is sys.stdout.buffer and sys.stdout.isatty() else contextlib.nullcontext
    stream.write(encoded(form.head()))
    for picture, result in results:
        counts.pictures += 1
        if isinstance(result, UserError):
            tqdm.write(f'error: {result}', file=sys.stderr)
            counts.unreadable += 1
            continue
        best, label = predictor.top_k(result, args.top_k), None
        found, probability = best[0]
        if args.labels_from_folders:
            label = label_from_folders(picture.name, args.images, predictor.class_names)
        is_right = label == found
        counts.right += is_right
        if not (args.only_wrong and is_right):
            with room():                                           # a progress bar on this terminal makes room for the lines
                stream.write(encoded(form.item(picture.name, best, label)))
                stream.flush()
        if sheet and not is_right:
            sheet.add(picture.thumbnail, found if label is None else f'{found}, is {label}', probability, picture.name)
    stream.write(encoded(form.tail()))
    stream.flush()
    if sheet:
        sheet.close()
    return counts


def encoded(text):
    """`text` as bytes. File names may have any encoding."""
    return text.encode('utf-8', 'surrogateescape')


def run(predictor, pictures, args):
    """Classify, write the results, and print speed and accuracy. Returns Counts."""
    total = None if args.labels_from_folders else pictures.total   # the number of wrong ones is unknown
    sheet = ContactSheet(args.contact_sheet, total, args.font) if args.contact_sheet else None
    files, labelled = [] if pictures.total is None else pictures, args.labels_from_folders
    form = {'table': lambda: Table(files, predictor.class_names, labelled), 'json': Json,
            'csv': lambda: Csv(labelled)}[args.format]()
    begin, found = time.perf_counter(), []
    shown = pictures.total is None or pictures.total > PROGRESS_FROM
    with progress_bar(classify(predictor, pictures, args), pictures.total, 'predict', enabled=shown) as results:
        if args.output:
            def write(temporary):
                with open(temporary, 'wb') as stream:
                    found.append(report(results, predictor, args, form, sheet, stream))
            write_atomically(args.output, write, 'Choose another --output.')
        else:
            found.append(report(results, predictor, args, form, sheet, sys.stdout.buffer))
    counts, seconds = found[0], time.perf_counter() - begin
    if counts.read:
        print(f'{counts.read} image{"s" * (counts.read != 1)} in {seconds:.2f} s, {counts.read / seconds:.1f} images/s '
              f'({predictor.name}, {predictor.engine}, batches of {args.batch_size})', file=sys.stderr)
    if counts.read and args.labels_from_folders:
        where = sys.stdout if args.format == 'table' and not args.output else sys.stderr
        print(f'top-1       {100 * counts.right / counts.read:.2f} % ({counts.right} of {counts.read} images)', file=where)
    if sheet:
        say_of_sheet(sheet)
    return counts


def say_of_sheet(sheet):
    if sheet.pages:
        print(f'contact sheet: {sheet.pages[0]}{f" to {sheet.pages[-1].name}" if sheet.pages[1:] else ""}', file=sys.stderr)
    if sheet.unknown_letters:
        print(f'no font was found for the characters {"".join(sorted(sheet.unknown_letters))[:20]}; give one with --font, e.g. '
              'NotoSansCJK-Regular.ttc', file=sys.stderr)


def check(args):
    if args.output and is_picture(args.output):
        raise UserError(f'--output {args.output} has the name of a picture; wanted a file for text, e.g. result.csv')
    if args.only_wrong and not args.labels_from_folders:
        raise UserError('--only-wrong needs --labels-from-folders, which say what is right')
    if args.font and not args.contact_sheet:
        raise UserError('--font is for the labels of a contact sheet; give --contact-sheet, too')


@exit_with_message
def main(argv=None):
    args = parse(argv)
    check(args)
    predictor = open_predictor(args.model, args.weights, args.engine, args.batch_size)
    pictures = find_pictures(args.images, args.list)
    for note in pictures.notes:
        print(note, file=sys.stderr)
    if args.labels_from_folders and pictures.total is not None:
        for name in pictures:                                      # report a folder that is no class before classifying
            label_from_folders(name, args.images, predictor.class_names)
    counts = run(predictor, pictures, args)
    if not counts.pictures:
        raise UserError(f'{", ".join(args.images)} names no picture; wanted at least one')
    if counts.unreadable:
        raise UserError(f'{counts.unreadable} of {counts.pictures} images could not be read; see above')


if __name__ == '__main__':
    main()
