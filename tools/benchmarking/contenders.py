"""Who runs: this library's forms of a network, its exports, and the same network elsewhere."""
from collections import namedtuple
from pathlib import Path

import yaml

from image_classification.errors import UserError

EAGER = ('eager', 'fused', 'static')                               # forms that need no export; eager and static can train
TORCH, PADDLE = ('timm', 'torchvision', 'authors'), ('paddle.vision', 'PaddleClas', 'PaddleViT')
PEERS = yaml.safe_load(Path(__file__).with_name('peers.yaml').read_text(encoding='utf-8'))
LABELS = {'static': 'to_static', 'paddle_inference': 'Paddle Inference', 'onnxruntime': 'ONNX Runtime', 'openvino': 'OpenVINO',
          'mnn': 'MNN', 'litert': 'LiteRT', 'paddlelite': 'Paddle-Lite',
          'authors': "authors' PyTorch"}
# Libraries that are a directory: the option that names it, a file that it must hold, whether pip can install it.
DIRECTORIES = {'authors': ('mobileformer', 'mobile_former.py', False), 'PaddleViT': ('paddlevit', 'mobileformer.py', False),
               'PaddleClas': ('paddleclas', 'ppcls/arch/backbone', True)}

EXPORTED = ('timm', 'torchvision')                                 # of TORCH, what torch.onnx is asked to export

# who: of EAGER, ENGINES, TORCH or PADDLE. job: what its process is told, see child.py; its `who` is the engine where that
# runs a peer's export. `error` says why it does not run.
Contender = namedtuple('Contender', 'who label job error', defaults=['none'])


def check_directories(args):
    """Raise UserError where a peer's directory is missing or is another one."""
    for library, (option, wanted, installable) in DIRECTORIES.items():
        directory = getattr(args, option)
        if directory and not (directory / wanted).exists():
            raise UserError(f'--{option} {directory} has no {wanted}; wanted the directory of {LABELS.get(library, library)} '
                            'that has it')
        if not directory and library in (args.peers or []) and not installable:
            raise UserError(f'--peers {library} wants --{option} DIRECTORY as well')


def contenders(name, what, batch, args, size, channels, exports):
    """All contenders of one network, ours first.

    Args:
        exports: {engine: (directory, None) or (None, reason)}, and the same of a peer's own export by the name of its library.
    """
    job = {'name': name, 'what': what, 'batch': batch, 'size': size, 'channels': channels, 'threads': args.threads,
           'device': args.device, 'amp': args.amp, 'optimizer': args.optimizer, 'directory': '', 'settings': False,
           'compile': False}
    found = []
    for engine in args.engines:
        if what == 'step' and engine not in ('eager', 'static'):
            continue
        directory, error = exports.get(engine, ('', None))
        found.append(Contender(engine, LABELS.get(engine, engine), {**job, 'who': engine, 'directory': str(directory)}, error))
    for library, its_name in PEERS.get(name, {}).items() if args.peers is not None else ():
        option, _, installable = DIRECTORIES.get(library, (None, None, True))
        directory = getattr(args, option) if option else None
        if args.peers and library not in args.peers or not directory and not installable:
            continue
        its_job = {**job, 'who': library, 'name': its_name, 'directory': str(directory or '')}
        label = LABELS.get(library, library)
        if library in exports and what == 'forward':
            where, error = exports[library]
            its_export = {**its_job, 'who': 'onnxruntime', 'directory': str(where)}
            found.append(Contender(library, f'{label}, {LABELS["onnxruntime"]}', its_export, error))
        found.append(Contender(library, label, its_job, None))
        if library in TORCH and args.compile:
            found.append(Contender(library, f'{label}, compiled', {**its_job, 'compile': True}, None))
        if library in PADDLE and args.same_settings:
            found.append(Contender(library, f'{label}, our settings', {**its_job, 'settings': True}, None))
    return found
