"""Run a script of a toolkit with this library's backbones registered. Start it in the toolkit's clone:

    python -m image_classification.integrations paddleseg tools/train.py --config my.yml
    python -m image_classification.integrations paddledetection tools/train.py -c my.yml
"""
import importlib
import os
import runpy
import sys

from image_classification.errors import UserError, exit_with_message

TOOLKITS = ('paddleseg', 'paddledetection')


@exit_with_message
def main(argv=None):
    arguments = sys.argv[1:] if argv is None else argv
    toolkit, script, *_ = [*arguments, '', '']
    if toolkit in ('-h', '--help'):
        print(__doc__.strip())
        return
    if toolkit not in TOOLKITS:
        raise UserError(f'the toolkit is {toolkit!r}; wanted {" or ".join(TOOLKITS)}, then its script and arguments')
    if not os.path.isfile(script):
        raise UserError(f'the script is {script!r}, which is no file; wanted one of the toolkit, e.g. tools/train.py')
    folder = os.path.dirname(os.path.abspath(script))
    sys.path[:0] = [folder, os.path.dirname(folder)]               # the script's folder, as in Python itself, and the clone
    importlib.import_module(f'image_classification.integrations.{toolkit}')
    sys.argv = arguments[1:]
    runpy.run_path(script, run_name='__main__')


if __name__ == '__main__':
    main()
