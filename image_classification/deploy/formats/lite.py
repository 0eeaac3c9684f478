"""Paddle-Lite: the older program format, a check of its operators, and the command that makes the file for a phone."""
from pathlib import Path

from image_classification.cpu.paddle_internals import operators_of_older_program
from image_classification.deploy.export_directory import GUIDE, OLDER_PROGRAM, PREFIX, WEIGHTS
from image_classification.errors import UserError

LIST = Path(__file__).with_name('lite_operators.txt')
COMMAND = (f'paddle_lite_opt --model_file={OLDER_PROGRAM} --param_file={WEIGHTS} --optimize_out_type=naive_buffer '
           f'--optimize_out={PREFIX} --valid_targets=arm')


def documented():
    """{operator: 'base' or 'extra'} of those that Paddle-Lite documents for ARM CPUs."""
    lines = [line.split(': ') for line in LIST.read_text().splitlines() if not line.startswith('#')]
    return {name: kind for kind, names in lines for name in names.split()}


def write_guide(directory, name, allow_unsupported=False):
    """Write GUIDE into an export directory; what inference.yaml says of Paddle-Lite.

    Raises:
        UserError: the program has operators that Paddle-Lite does not document for ARM, unless that is allowed.
    """
    known, found = documented(), operators_of_older_program((directory / OLDER_PROGRAM).read_bytes())
    unsupported = [operator for operator in found if operator not in known]
    if unsupported and not allow_unsupported:
        raise UserError(f'{name} uses {", ".join(unsupported)}, which Paddle-Lite does not document for ARM (see {LIST.name}); '
                        'wanted documented operators only. Choose another network or format, or write it all the same by '
                        '--allow-unsupported, for a Paddle-Lite of your own.')
    extra = [operator for operator in found if known.get(operator) == 'extra']
    lines = [f'{name} for Paddle-Lite. On a computer with `pip install paddlelite`, in this directory:', '', COMMAND, '',
             f'It writes {PREFIX}.nb, which the library on the phone loads.',
             f'Operators: {", ".join(found)}.',
             f'Beyond the basic ones, so take a library that is built with extra operators: {", ".join(extra) or "none"}.',
             f'Not documented for ARM: {", ".join(unsupported) or "none"}.']
    (directory / GUIDE).write_text('\n'.join(lines) + '\n', encoding='utf-8')
    return {'command': COMMAND, 'extra_operators': extra, 'unsupported_operators': unsupported}
