"""Export every classifier for every phone engine and write docs/phone_networks.md, the table of their differences:

    python tools/maintenance/phone_table.py --results FILE.json [--engines mnn ncnn ...] [--again] [NAME ...]

Each network (by default all classifiers) has random weights and batch norm statistics that fit them. It is exported at its own
input size, converted by the engine's converter, and run in the engine. FILE.json keeps what is known: a second call goes on
where the first one ended, and `--again` repeats. Each network runs in a process of its own, because engines may crash.
"""
import argparse
import json
import re
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import command_setup  # noqa: F401, E402  (first: before Paddle is imported)

import paddle  # noqa: E402

import image_classification as ic  # noqa: E402
from image_classification.deploy.engines import FORMATS, PHONE_ENGINES, available  # noqa: E402
from image_classification.deploy.export import PHONE, export_model  # noqa: E402
from image_classification.deploy.export_directory import ExportDirectory  # noqa: E402
from image_classification.deploy.formats import lite, phone  # noqa: E402
from image_classification.errors import UserError, exit_with_message  # noqa: E402
from image_classification.files import temporary_directory, write_atomically  # noqa: E402

from try_phones import awake, classifiers, settle  # noqa: E402

PAGE = Path(__file__).resolve().parents[2] / 'docs' / 'phone_networks.md'
MARKS = '<!-- tools/maintenance/phone_table.py writes what follows -->\n', '<!-- until here -->\n'
SECONDS = 3600                                                     # for one network
TITLES = {engine: {**PHONE, 'lite': lite}[format].HEADING for engine, format in FORMATS.items() if engine in PHONE_ENGINES}


@paddle.no_grad()
def network(name):
    """The network with random weights, and statistics from random pictures: others would magnify rounding."""
    paddle.seed(0)
    made = awake(ic.create_model(name))
    size = made.config.DATA.IMAGE_SIZE
    settle(made, [paddle.randn([4, made.config.MODEL.IN_CHANNELS, size, size])])
    return made


def exported(model, engines):
    """{engine: its largest difference, relative to the output's deviation} of one export for several engines.

    Raises:
        UserError: at least one of them cannot be written, or differs.
    """
    with temporary_directory() as scratch:
        directory = Path(scratch) / 'export'
        export_model(model, directory, format=[FORMATS[engine] for engine in engines], fixed_size=True)
        found = ExportDirectory(directory).read()['engines']
        return {engine: found[engine]['differences'][1] if engine in found else {'error': f'no {engine} here'}
                for engine in engines}


def results(name, engines):
    """{engine: differences, or {'error': words}}. Paddle-Lite reads another program than the others, which share theirs."""
    model, found = network(name), {}
    together = [engine for engine in engines if engine != 'paddlelite']
    try:
        found.update(exported(model, together) if together else {})
    except UserError:                                              # which of them?
        pass
    for engine in engines:
        if engine not in found:
            try:
                found.update(exported(model, [engine]))
            except UserError as error:
                found[engine] = {'error': str(error)}
    return found


def in_child(name, engines):
    """`results` in another process. If it ends without results, the engines have a process each."""
    command = [sys.executable, __file__, name, '--child', '--results', '-', '--engines', *engines]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
        lines, problem = done.stdout.strip().splitlines(), f'exit code {done.returncode}'
        if not done.returncode and lines:
            return json.loads(lines[-1])
    except subprocess.TimeoutExpired:
        problem = f'not done after {SECONDS} seconds'
    if len(engines) == 1:
        return {engines[0]: {'error': problem}}
    return {engine: in_child(name, [engine])[engine] for engine in engines}


def cell(entry):
    if entry is None:
        return '-'
    return 'no' if 'error' in entry else f'{entry["relative"]:.0e}'.replace('e-0', 'e-')


def table(known):
    """The rows of all networks, and a list of the exports that do not work, with the reason."""
    engines = [engine for engine in TITLES if any(engine in entry for entry in known.values())]
    lines = [f'| network | {" | ".join(TITLES[engine] for engine in engines)} |\n', '|---' * (len(engines) + 1) + '|\n']
    lines += [f'| {name} | {" | ".join(cell(known[name].get(engine)) for engine in engines)} |\n' for name in sorted(known)]
    counts = []
    for engine in engines:
        entries = [entry[engine] for entry in known.values() if engine in entry]
        counts.append(f'{TITLES[engine]}: {sum("error" not in entry for entry in entries)} of {len(entries)}')
    failed = [f'- `{name}` in {TITLES[engine]}: {entry[engine]["error"]}\n' for name, entry in sorted(known.items())
              for engine in engines if 'error' in entry.get(engine, {})]
    return f'Exports that agree with their network: {", ".join(counts)}.\n\n{"".join(lines)}\n' + ''.join(failed)


def write_page(known, path=PAGE):
    text = path.read_text(encoding='utf-8')
    before, _, rest = text.partition(MARKS[0])
    installed = phone.versions(('MNN', 'ncnn', 'pnnx', 'ai-edge-litert', 'tensorflow'))
    text = before + MARKS[0] + f'\nVersions: {installed}, paddlelite 2.12.\n\n' + table(known) + '\n' + MARKS[1] + rest.partition(MARKS[1])[2]
    text = re.sub(r'\n{3,}', '\n\n', text)
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding='utf-8'))


@exit_with_message
def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('names', nargs='*', metavar='NAME')
    parser.add_argument('--results', required=True, help='a .json file')
    parser.add_argument('--engines', nargs='*', choices=PHONE_ENGINES,
                        default=[name for name in PHONE_ENGINES if name in available()])
    parser.add_argument('--again', action='store_true', help='repeat what is known')
    parser.add_argument('--write', action='store_true', help='write docs/phone_networks.md')
    parser.add_argument('--child', action='store_true', help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.child:
        print(json.dumps(results(args.names[0], args.engines)))
        return
    path = Path(args.results)
    known = json.loads(path.read_text(encoding='utf-8')) if path.is_file() else {}
    for name in args.names or classifiers():
        engines = [engine for engine in args.engines if args.again or engine not in known.get(name, {})]
        if engines:
            found = in_child(name, engines)
            known.setdefault(name, {}).update(found)
            print(f'{name:30}', ', '.join(f'{engine} {entry.get("error") or cell(entry)}' for engine, entry in found.items()), flush=True)
            write_atomically(path, lambda file: file.write_text(json.dumps(known, indent=1), encoding='utf-8'))
    if args.write:
        write_page(known)


if __name__ == '__main__':
    main()
