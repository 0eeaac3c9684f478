"""Train a classifier on your own pictures: python tools/fit.py DIR, with DIR/<class>/<pictures>, or DIR/train/<class>/... and
DIR/val"""
import command_setup  # noqa: F401  (first: before Paddle is imported)

import time
from pathlib import Path

from image_classification.config import BOUNDS, Parser
from image_classification.errors import exit_with_message
from image_classification.fit.run import MINUTES, SIDES, fit


def parse(argv):
    parser = Parser(description='Look at a folder of pictures, train a classifier for them in the given time, test it '
                                                 'on held-out pictures, and export it.')
    parser.add_argument('directory', help='a folder of pictures for each class, or such folders in train/ and val/ or test/')
    parser.add_argument('--minutes', type=float, default=10.0, bounds=MINUTES,
                        help='time for everything; default: 10')
    parser.add_argument('--network', help='a model of this library; default: the best with published weights at hand')
    parser.add_argument('--size', type=int, bounds=SIDES,
                        help='side of the network\'s input in pixels; default: chosen from the pictures')
    parser.add_argument('--test', metavar='DIR', help='other pictures of the same classes for the test; default: DIR/test or '
                                                      'DIR/val, or a fixed fifth of the pictures')
    parser.add_argument('--output', help='a new directory; default: output/fit-<name>-<time>')
    parser.add_argument('--seed', type=int, default=0, bounds=BOUNDS['SEED'],
                        help='the same seed gives the same result; default: 0')
    parser.add_argument('--force', action='store_true', help='replace an earlier fit in --output when this one has finished')
    return parser.parse_args(argv)


@exit_with_message
def main(argv=None):
    args = parse(argv)
    name = Path(args.directory).resolve().name
    output = args.output or Path('output') / f'fit-{name}-{time.strftime("%Y%m%d-%H%M%S")}'
    fit(args.directory, output, args.minutes, args.network, args.size, args.test, args.seed, force=args.force)


if __name__ == '__main__':
    main()
