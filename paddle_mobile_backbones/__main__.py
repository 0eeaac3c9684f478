"""The console command `mobile-backbones`, also `python -m paddle_mobile_backbones`. Each sub-command is a file that also runs
as a separate program, e.g. `python tools/fit.py` in a clone."""
import difflib
import runpy
import sys

import paddle_mobile_backbones as ic
from image_classification import installation

USAGE = f"""usage: {installation.COMMAND} COMMAND ...

Mobile image-classification networks for PaddlePaddle, {ic.__version__}. `{installation.COMMAND} COMMAND -h` lists the flags of:

"""


def usage():
    width = max(map(len, installation.SUB_COMMANDS))
    return USAGE + ''.join(f'  {name:{width}s}  {text}\n' for name, (_, _, text) in installation.SUB_COMMANDS.items())


def main():
    """Run the sub-command in `sys.argv` as a program."""
    words = sys.argv[1:]
    if not words or words[0] in ('-h', '--help', 'help'):
        print(usage(), end='', file=sys.stdout if words else sys.stderr)
        return 0 if words else 2
    if words[0] in ('-V', '--version'):
        print(f'{installation.DISTRIBUTION} {ic.__version__}')
        return 0
    name = words[0].replace('_', '-')
    if name not in installation.SUB_COMMANDS:
        near = difflib.get_close_matches(name, installation.SUB_COMMANDS, n=1, cutoff=0.0)[0]
        print(f'{installation.COMMAND}: error: no command {words[0][:60]!r}; wanted one of '
              f'{", ".join(installation.SUB_COMMANDS)}; the nearest is {near}', file=sys.stderr)
        return 2
    file, first, _ = installation.SUB_COMMANDS[name]
    installation.typed = f'{installation.COMMAND} {name}'
    path = installation.file_of(name)
    sys.argv = [str(path), *first, *words[1:]]
    sys.path[:0 if getattr(sys.flags, 'safe_path', False) else 1] = [str(path.parent)]     # as Python does for a program
    runpy.run_path(str(path), run_name='__main__')
    return 0


if __name__ == '__main__':
    sys.exit(main())
