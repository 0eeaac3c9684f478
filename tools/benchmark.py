"""Time networks, optionally beside the same ones in other libraries: python tools/benchmark.py 'mobilenet_v*' --peers

Each contender runs in its own process, and they take turns. A table is written to standard output.
"""
from command_setup import ENVIRONMENT                              # first: before Paddle is imported

import json
import shlex
import sys
from pathlib import Path

import image_classification as ic
from image_classification.config import BOUNDS
from image_classification.config.options import BATCH, THREADS, TURNS, Parser
from image_classification.deploy.engines import ENGINES, available
from image_classification.errors import UserError, exit_with_message
from image_classification.files import temporary_directory, write_atomically
from image_classification.progress import progress_bar

from benchmarking import table
from benchmarking.contenders import EAGER, EXPORTED, PADDLE, PEERS, TORCH, check_directories, contenders
from benchmarking.processes import alternate
from benchmarking.surroundings import export, export_peer, input_pipeline, machine

WHAT = ('forward', 'step', 'input')
FIXED = ('--fixed-size', '--for', 'onnxruntime')


def parse(argv):
    parser = Parser(description='Milliseconds of forward passes and training steps, side by side.')
    parser.add_argument('patterns', nargs='*', help="names of models, e.g. 'mobilenet_v*'")
    parser.add_argument('--what', nargs='+', choices=WHAT, help='default: forward, or all that --tables contain; input is the '
                                                                'input pipeline: images/s from JPEG files to batches')
    parser.add_argument('--engines', nargs='+', choices=(*EAGER, *ENGINES), default=['eager', 'static', *available()],
                        metavar='ENGINE', help=f'some of {", ".join((*EAGER, *ENGINES))}; default: all installed ones except '
                                               'fused (batch norms folded). A step is timed in eager and static only')
    parser.add_argument('--batch-size', type=int, bounds=BATCH, nargs='+', default=[1, 8])
    parser.add_argument('--input-options', type=shlex.split, default=[],
                        help="options of tools/benchmark_input.py, e.g. '--workers 4'")
    parser.add_argument('--image-size', type=int, bounds=BOUNDS['DATA.IMAGE_SIZE'],
                        help='default: the size that each network is made for')
    parser.add_argument('--fixed-size', action='store_true',
                        help="exports for one picture of this size alone, as other libraries' exports are; batch size 1")
    parser.add_argument('--threads', type=int, bounds=THREADS, default=1)
    parser.add_argument('--repeat', type=int, bounds=TURNS, default=7, help='turns of each contender')
    parser.add_argument('--device', choices=('cpu', 'gpu'), help='default: gpu if there is one')
    parser.add_argument('--amp', action='store_true', help='mixed precision; needs a GPU')
    parser.add_argument('--optimizer', choices=('sgd', 'adamw'), default='sgd', help='optimizer of the training step')
    parser.add_argument('--memory', action='store_true', help='print the peak memory of every process, too')
    parser.add_argument('--exports', type=Path, help='keep the exports in this directory, and reuse those already there')
    parser.add_argument('--json', type=Path, help='write all figures, versions and the machine to this file')
    parser.add_argument('--tables', type=Path, nargs='+', metavar='JSON',
                        help='print the results in these files of --json as one report; time nothing')
    parser.add_argument('--markdown', type=Path, help='also write the printed report to this file')
    parser.add_argument('--force', action='store_true', help='replace files that --json and --markdown wrote in an earlier run')
    peers = parser.add_argument_group('the same networks in other libraries')
    peers.add_argument('--peers', nargs='*', choices=(*TORCH, *PADDLE), metavar='LIBRARY',
                       help=f'some of {", ".join((*TORCH, *PADDLE))}; without a name, all that are available. With the engine '
                            'onnxruntime, the exports of timm and torchvision are timed, too')
    peers.add_argument('--peer-python', default=sys.executable, help='a Python with torch, timm and torchvision; '
                       'their exports also need onnx and onnxscript')
    peers.add_argument('--paddleclas', type=Path, help='a clone of PaddleClas; default: the installed paddleclas')
    peers.add_argument('--paddlevit', type=Path, help="image_classification/MobileFormer in a clone of PaddleViT")
    peers.add_argument('--mobileformer', type=Path, help="a clone of AAboys/MobileFormer, for 'authors'; it needs timm")
    peers.add_argument('--same-settings', action='store_true', help='run Paddle peers also with our process settings')
    peers.add_argument('--compile', action='store_true', help='run PyTorch peers also through torch.compile')
    return parser.parse_args(argv)


def check(args):
    """The names of the models. Sets `args.device`; raises UserError for options that do not fit."""
    import paddle
    names = sorted({name for pattern in args.patterns for name in ic.list_models(pattern)})
    if not names and args.what != ['input']:
        raise UserError(f'no model fits {" ".join(args.patterns)}; image_classification.list_models() has all of them')
    has_gpu = paddle.device.is_compiled_with_cuda() and paddle.device.cuda.device_count() > 0
    args.device = args.device or ('gpu' if has_gpu else 'cpu')
    if args.device == 'gpu' and not has_gpu:
        raise UserError('--device gpu, but Paddle finds no GPU; install the GPU build (README), or leave it out')
    if args.fixed_size and set(args.batch_size) != {1}:
        raise UserError(f'--fixed-size with --batch-size {" ".join(map(str, args.batch_size))}: such exports take one picture; '
                        'wanted --batch-size 1')
    if args.amp and args.device == 'cpu':
        raise UserError('--amp needs a GPU: on a CPU, Paddle ignores it')
    for path in filter(None, (args.json, args.markdown)):
        if path.exists() and not args.force:
            raise UserError(f'{path} exists and is not overwritten; choose another file, or replace it with --force')
        if path.exists() and not was_written(path):
            raise UserError(f'{path} exists and was not written by this command, so it is not replaced; choose another file')
    check_directories(args)
    return names


def was_written(path):
    """Whether --json or --markdown wrote this file."""
    try:
        text = path.read_text(encoding='utf-8')
        return {'machine', 'settings', 'results'} <= {*json.loads(text)} if text.startswith('{') else '; paddle ' in text
    except (OSError, ValueError):
        return False


def measure(name, args, exports):
    """Yield one result for each kind of run (forward, step) and each batch size."""
    config = ic.get_config(name)
    size, channels = args.image_size or config.DATA.IMAGE_SIZE, config.MODEL.IN_CHANNELS
    engines = [engine for engine in args.engines if engine in ENGINES] if 'forward' in args.what else []
    if args.device == 'gpu':
        ready = {engine: (None, 'the exports are timed on a CPU only: --device cpu') for engine in engines}
    else:
        ready = export(name, engines, exports, size, ENVIRONMENT, FIXED if args.fixed_size else ())
        ready.update(export_peers(name, args, exports, size, channels) if 'onnxruntime' in engines else {})
    for what in [what for what in ('forward', 'step') if what in args.what]:
        for batch in args.batch_size:
            rivals = contenders(name, what, batch, args, size, channels, ready)
            found, order = alternate(rivals, ENVIRONMENT, args.peer_python, args.repeat)
            yield {'model': name, 'size': size, 'what': what, 'batch': batch, 'contenders': found, 'order': order,
                   'ratios': table.ratios(found)}


def export_peers(name, args, exports, size, channels):
    """Export the requested peers of a network with PyTorch's own exporter: {library: (directory, error)}."""
    wanted = [library for library in PEERS.get(name, {}) if library in EXPORTED and args.peers is not None
              and (not args.peers or library in args.peers)]
    return {library: export_peer({'who': library, 'name': PEERS[name][library], 'size': size, 'channels': channels}, exports,
                                 args.peer_python, ENVIRONMENT) for library in wanted}


def measure_all(names, args):
    with temporary_directory() as scratch:
        for name in progress_bar(names, label='time'):
            yield from measure(name, args, args.exports or scratch)


def report(results, pipeline, facts, settings):
    """The whole printed report, as one text."""
    labels, versions = table.columns(results), {'paddle': facts['paddle']}
    for result in results:
        for contender in result['contenders']:
            versions.update(contender['versions'])
    turns = sorted({len(result['order']) // len(set(result['order'])) for result in results if result['order']})
    software = ', '.join(f'{name} {version}' for name, version in sorted(versions.items()))
    where = facts.get('gpu') or f'{settings["threads"]} thread(s) of {facts["processor"]}, {facts["cores"]} cores'
    text = [f'{where}; {software}; {facts["system"]}, Python {facts["python"]}\n']
    if results:
        text += ['\n', table.head(labels), *(table.row(result, labels) for result in results),
                 f'\nMilliseconds, median of {" or ".join(map(str, turns))} turns ± half the interquartile range. In '
                 'brackets behind a peer: how many times as fast our eager network is, or our export in the same engine, '
                 'and the fastest of our others.\n']
    if results and settings['memory']:
        text += ['\nPeak memory of the process, MiB:\n\n', table.head(labels)]
        text += [table.memory_row(result, labels) for result in results]
    problems = table.failures(results) + ([f'input: {pipeline["error"]}\n'] if 'error' in pipeline else [])
    text += ['\nWhat did not run:\n\n', *(f'- {line}' for line in problems)] if problems else []
    return ''.join([*text, '\n' + pipeline['markdown'] if 'markdown' in pipeline else ''])


def read_all(paths, what):
    """The arguments of `report`, from the files of several runs with the same settings; only results for `what`."""
    runs = []
    for path in paths:
        try:
            runs.append(json.loads(path.read_text(encoding='utf-8')))
            runs[-1]['results'], runs[-1]['settings']              # every file of --json has these
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f'{path} was not written by --json ({type(error).__name__}: {error})') from None
    if any(run['settings'][key] != runs[0]['settings'][key] for run in runs for key in ('threads', 'device')):
        raise UserError('the files of --tables were measured with different threads or devices; print them one by one')
    results = [result for run in runs for result in run['results'] if result['what'] in what]
    results.sort(key=lambda result: (result['model'], result['what'], result['batch']))
    return results, runs[-1]['input'], runs[0]['machine'], runs[0]['settings']


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, lambda temporary: Path(temporary).write_text(text, encoding='utf-8'))


@exit_with_message
def main(argv=None):
    args = parse(argv)
    if args.tables:
        print(report(*read_all(args.tables, args.what or WHAT)), end='')
        return
    args.what = args.what or ['forward']
    names = check(args)
    facts, results, pipeline = machine(args.device), [], {}
    settings = {key: str(value) if isinstance(value, Path) else value for key, value in vars(args).items()}

    def save():                                                    # after each result: a run may take hours and be interrupted
        text = report(results, pipeline, facts, settings)
        if args.markdown:
            write(args.markdown, text)
        if args.json:
            content = {'machine': facts, 'settings': settings, 'results': results, 'input': pipeline}
            write(args.json, json.dumps(content, indent=1))
        return text

    for result in measure_all(names, args):
        results.append(result)
        labels = table.columns([result])
        print(table.head(labels) + table.row(result, labels), file=sys.stderr, flush=True)
        save()
    if 'input' in args.what:
        pipeline = input_pipeline(args.input_options, args.peers is not None, args.peer_python, ENVIRONMENT)
    print(save(), end='')


if __name__ == '__main__':
    main()
