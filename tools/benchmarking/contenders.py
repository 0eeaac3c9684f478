"""The contenders: this library's forms of a network, its exports, and the same network in other libraries."""
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
# Libraries in a directory: (option with its path, a file that it must contain, whether pip can install the library).
DIRECTORIES = {'authors': ('mobileformer', 'mobile_former.py', False), 'PaddleViT': ('paddlevit', 'mobileformer.py', False),
               'PaddleClas': ('paddleclas', 'ppcls/arch/backbone', True)}

EXPORTED = ('timm', 'torchvision')                                 # those of TORCH that torch.onnx exports

# who: one of EAGER, ENGINES, TORCH or PADDLE. job: the job for its process, see child.py; its `who` is the engine if that
# runs a peer's export. error: why it cannot run.
Contender = namedtuple('Contender', 'who label job error', defaults=['none'])


def check_directories(args):
    """Raise UserError if a peer's directory is missing or is a different one."""
    for library, (option, wanted, installable) in DIRECTORIES.items():
        directory = getattr(args, option)
        if directory and not (directory / wanted).exists():
            raise UserError(f'--{option} {directory} has no {wanted}; wanted the directory of {LABELS.get(library, library)} '
                            'that has it')
        if not directory and library in (args.peers or []) and not installable:
            raise UserError(f'--peers {library} also needs --{option} DIRECTORY')


def contenders(name, what, batch, args, size, channels, exports):
    """All contenders for one network, ours first.

    Args:
        exports: {engine: (directory, None) or (None, reason)}; the same for a peer's own export, under the name of its library.
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
