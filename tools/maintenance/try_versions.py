"""Run the tests with each version of PaddlePaddle and of Python that the package supports:

    python tools/maintenance/try_versions.py [--output versions] [--paddle 3.1.1 3.3.1] [--python 3.10 3.13] [-- tests/layers -x]
    python tools/maintenance/try_versions.py --pairs 3.10/3.1.1 3.12/3.2.2 -- -n 0 -vv

Each minor version of PaddlePaddle (with its newest patch) runs with the first Python, and each other Python with the newest
PaddlePaddle. --pairs chooses other pairs. Each pair has its own virtual environment in --output, which is kept for the next
time, and a log beside it. Words after -- go to pytest; without them, all tests run. A Markdown table is printed at the end. It
is also in --output/versions.md, which is updated after each row and keeps the rows of earlier calls. The exit code is 1 if a
row failed.
"""
import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PADDLES = ('3.1.1', '3.2.2', '3.3.1')
PYTHONS = ('3.11', '3.10', '3.12', '3.13')
HEAD = '| Python | PaddlePaddle | tests | minutes |\n|---|---|---|---|'


def pairs(pythons, paddles):
    """[(Python, PaddlePaddle)] to try: all PaddlePaddles with the first Python, all other Pythons with the last PaddlePaddle."""
    return [(pythons[0], paddle) for paddle in paddles] + [(python, paddles[-1]) for python in pythons[1:]]


def interpreter(version):
    """The path of a Python of this minor version; None if there is none."""
    if version == f'{sys.version_info.major}.{sys.version_info.minor}':
        return sys.executable
    found = sorted(Path.home().glob(f'.pyenv/versions/{version}.*/bin/python'))        # pyenv's shim python3.13 may not work
    return str(found[-1]) if found else shutil.which(f'python{version}')


def environment(python, paddle, place):
    """The Python of a virtual environment with this library, its test requirements and this PaddlePaddle. Raises
    CalledProcessError."""
    made = place / ('Scripts/python.exe' if os.name == 'nt' else 'bin/python')
    subprocess.run([python, '-m', 'venv', str(place)], check=True)      # also repairs one that was interrupted before pip came
    subprocess.run([str(made), '-m', 'pip', 'install', '--quiet', '--no-compile', '-e', f'{ROOT}[test]', f'paddlepaddle=={paddle}'],
                   check=True)
    return str(made)


def verdict(text, code):
    """The result for a row of the table: the last line of pytest's output without the time."""
    found = re.findall(r'^(?:=+ )?((?:\d+ [a-z]+(?:, )?)+) in [\d.]+', text, re.M)
    return found[-1] if found else f'ended with exit code {code}'


def try_pair(python, paddle, output, words):
    """(row of the table, whether all is well)."""
    name, begin = f'python{python}-paddle{paddle}', time.monotonic()
    program = interpreter(python)
    if not program:
        return f'| {python} | {paddle} | no python{python} was found on this machine | - |', False
    log = output / f'{name}.log'
    print(f'{name}: see {log}', flush=True)
    try:
        made = environment(program, paddle, output / name)
    except subprocess.CalledProcessError as error:
        return f'| {python} | {paddle} | could not be installed (exit code {error.returncode}) | - |', False
    with open(log, 'w', encoding='utf-8') as stream:
        code = subprocess.run([made, '-m', 'pytest', *words], cwd=ROOT, stdout=stream, stderr=subprocess.STDOUT).returncode
    found = verdict(log.read_text(encoding='utf-8', errors='replace'), code)
    return f'| {python} | {paddle} | {found} | {(time.monotonic() - begin) / 60:.0f} |', code == 0


def pair(text):
    """('3.10', '3.1.1') of '3.10/3.1.1'."""
    found = re.fullmatch(r'(3\.\d+)/(\d+(?:\.\d+)+)', text)
    if not found:
        raise argparse.ArgumentTypeError(f'{text!r} is no pair; wanted PYTHON/PADDLEPADDLE, such as 3.10/3.1.1')
    return found.groups()


def write_table(file, rows):
    """Update the table in `file` with {(Python, PaddlePaddle): row}. Returns the table."""
    earlier = file.read_text(encoding='utf-8').splitlines()[2:] if file.is_file() else []
    known = {tuple(cell.strip() for cell in row.split('|')[1:3]): row for row in earlier}
    table = '\n'.join([HEAD, *{**known, **rows}.values()]) + '\n'
    file.write_text(table, encoding='utf-8')
    return table


def parse(argv):
    argv = list(sys.argv[1:] if argv is None else argv)
    end = argv.index('--') if '--' in argv else len(argv)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--paddle', nargs='+', default=PADDLES, metavar='VERSION', help=f'default: {" ".join(PADDLES)}')
    parser.add_argument('--python', nargs='+', default=PYTHONS, metavar='MINOR', help=f'default: {" ".join(PYTHONS)}')
    parser.add_argument('--pairs', nargs='+', type=pair, metavar='PYTHON/PADDLEPADDLE', help='only these, such as 3.10/3.1.1')
    parser.add_argument('--output', type=Path, default=Path('output/versions'), help='default: output/versions')
    return parser.parse_args(argv[:end]), argv[end + 1:]


def main(argv=None):
    args, words = parse(argv)
    output = args.output.resolve()
    output.mkdir(parents=True, exist_ok=True)
    rows, failed = {}, False
    for python, paddle in args.pairs or pairs(args.python, args.paddle):
        row, well = try_pair(python, paddle, output, words)
        failed |= not well
        rows[python, paddle] = row
        table = write_table(output / 'versions.md', rows)
    print(table, end='')
    return int(failed)


if __name__ == '__main__':
    sys.exit(main())
