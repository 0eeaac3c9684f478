"""Print the text for a bug report: python -m image_classification

Prints versions, processor and device, networks, missing extras with the command that installs them, and process settings. It
reads no environment variables but those below, and prints no paths.
"""
import argparse
import importlib.util
import os
import platform
import re
import struct
import subprocess
import sys
from collections import Counter
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

import paddle_mobile_backbones as ic       # ensures that `image_classification` is this library
from image_classification.cpu import settings
from image_classification.errors import exit_with_message
from image_classification.installation import DISTRIBUTION, IS_CLONE, ROOT, install_line, typed
from image_classification.installation.paddle_build import installed_builds

# Paddle, and everything that needs it, is imported where it is used, so that a report can say that Paddle cannot be imported.

FEATURES = ('avx', 'avx2', 'avx512f', 'avx512_vnni', 'avx512_bf16', 'amx_int8', 'amx_bf16', 'asimd')      # of a processor
# Variables that affect the library. Those in HIDDEN may hold names and passwords, so the report only says that they are set.
VARIABLES = ('OMP_NUM_THREADS', 'MKL_NUM_THREADS', 'MKL_DEBUG_CPU_TYPE', 'GLOG_minloglevel', 'CUDA_VISIBLE_DEVICES',
             'FLAGS_enable_pir_api', 'FLAGS_use_mkldnn', *(f'PADDLE_MOBILE_BACKBONES_{name}' for name in
                                                           ('PLAIN', 'OPERATORS', 'OFFLINE', 'TIMEOUT')))
HIDDEN = ('PADDLE_MOBILE_BACKBONES_HOME', 'PADDLE_MOBILE_BACKBONES_MIRROR', 'HF_ENDPOINT', 'HTTP_PROXY', 'HTTPS_PROXY')

BUILDS = {'cpu': 'paddlepaddle', 'gpu': 'paddlepaddle-gpu'}        # extras; one of them suffices
QUESTIONS = '''To report a bug, copy the lines above and answer these questions:
1. What did you run? The whole command, or the shortest program that shows it.
2. What did you expect?
3. What happened instead? The whole message.
4. Does it happen every time, and with which pictures or weights?'''


def versions():
    yield 'library', f'{DISTRIBUTION} {ic.__version__}{_commit()}'
    yield 'Python', f'{platform.python_version()} ({platform.python_implementation()}, {8 * struct.calcsize("P")} bit)'
    yield 'system', platform.platform()
    if not _has_paddle():
        yield 'PaddlePaddle', 'missing: without it, nothing but exports in ONNX Runtime runs'
        return
    import paddle
    build = f'CUDA {paddle.version.cuda()}, cuDNN {paddle.version.cudnn()}' if paddle.is_compiled_with_cuda() else 'CPUs'
    yield 'PaddlePaddle', f'{paddle.__version__} for {build}, commit {paddle.version.commit[:10]}'
    yield from ((name, str(version)) for name, version in installed_builds().items())      # as pip names it; there may be two


def _commit():
    """', commit ...' in a clone, with a note if files are changed; '' elsewhere."""
    if not (ROOT / '.git').exists():
        return ''
    try:
        found = [subprocess.run(['git', *words], cwd=ROOT, capture_output=True, text=True, timeout=10, check=True).stdout
                 for words in (['rev-parse', '--short', 'HEAD'], ['status', '--porcelain'])]
    except (OSError, subprocess.SubprocessError):
        return ', a clone'
    return f', commit {found[0].strip()}{" with changes" if found[1].strip() else ""}'


def _has_paddle():
    return importlib.util.find_spec('paddle') is not None


def machine():
    if _has_paddle():
        yield from _devices()
    model, flags = _processor()
    yield 'processor', ', '.join([model, *(name for name in FEATURES if name in flags)])
    yield 'cores', f'{settings.usable_cores()} of {os.cpu_count()}'
    if hasattr(os, 'sysconf'):
        yield 'memory', f'{os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30:.1f} GiB'


def _devices():
    import paddle
    yield 'device', paddle.get_device()
    if paddle.is_compiled_with_cuda():
        for index in range(paddle.device.cuda.device_count()):
            gpu = paddle.device.cuda.get_device_properties(index)
            yield f'GPU {index}', f'{gpu.name}, {gpu.total_memory / 2**30:.1f} GiB, capability {gpu.major}.{gpu.minor}'


def _processor():
    """(name of the processor, its feature flags as Linux names them)."""
    try:
        text = Path('/proc/cpuinfo').read_text(encoding='utf-8', errors='replace')
    except OSError:
        return platform.processor() or platform.machine(), []
    fields = dict(re.findall(r'^([\w ]+?)\s*:\s*(.*)$', text, re.M))
    return fields.get('model name') or platform.machine(), (fields.get('flags') or fields.get('Features') or '').split()


def networks():
    from image_classification.config import model_yamls
    from image_classification.deploy import engines
    yamls = model_yamls()
    families = Counter(Path(path).parent.name for path in yamls.values())
    yield 'networks', f'{len(yamls)} in {len(families)} families'
    yield 'families', ', '.join(f'{name} ({count})' for name, count in sorted(families.items()))
    yield 'engines', f'{", ".join(engines.available())} for exports'
    if not _has_paddle():
        return
    from image_classification.cpu import operators
    weights = ic.list_pretrained()
    yield 'weights', f'{len(weights)} published for {len({name for name, _ in weights})} of them'
    advice = 'not compiled, or switched off; to compile: python -m image_classification.cpu.build_operators'
    yield 'operators', 'compiled' if operators.loaded() else advice


def packages():
    """Lines for the required packages, then for every extra: installed versions, and how to install missing packages."""
    try:
        extras = metadata.metadata(DISTRIBUTION).get_all('Provides-Extra')
        requirements = [Requirement(text) for text in metadata.requires(DISTRIBUTION)]
    except metadata.PackageNotFoundError:
        yield 'packages', 'unknown: the library is not installed; in its clone: pip install -e .'
        return
    for requirement in requirements:
        if belongs(requirement, ''):
            found, problem = check(requirement)
            yield requirement.name, f'{found.removeprefix(requirement.name).strip() or "-"}{f", {problem}" if problem else ""}'
    for extra in filter(_matters, extras):
        checked = dict.fromkeys(check(requirement) for requirement in requirements
                                if belongs(requirement, extra) and not belongs(requirement, ''))    # extras overlap
        problems = [f'{found} {problem}' for found, problem in checked if problem]
        missing = f'missing: {", ".join(problems)}; {install_line(extra, "pip")}'
        yield f'[{extra}]', missing if problems else ', '.join(found for found, _ in checked)


def _matters(extra):
    """Whether to report an extra: of cpu and gpu only the installed one (cpu if neither is), and test only in a clone."""
    return IS_CLONE if extra == 'test' else extra not in BUILDS or BUILDS[extra] in (installed_builds() or {BUILDS['cpu']})


def belongs(requirement, extra):
    """Whether this Python needs the requirement for an extra ('': always)."""
    return not requirement.marker or requirement.marker.evaluate({'extra': extra})


def check(requirement):
    """('name version' or 'name', problem or '')."""
    name, wanted = requirement.name, str(requirement.specifier)
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        version = _paddle_version() if name == 'paddlepaddle' else None
    if version is None:
        return name, f'is not installed{f" (wanted {wanted})" if wanted else ""}'
    fits = requirement.specifier.contains(version, prereleases=True)
    return f'{name} {version}', '' if fits else f'does not fit (wanted {wanted})'


def _paddle_version():
    """The version of Paddle in any build: that for GPUs has another package name."""
    try:
        import paddle
    except ImportError:
        return None
    return paddle.__version__


def process(tuned):
    """Lines about what tune_cpu() did, and about variables that are set."""
    hidden = (*HIDDEN, *sorted(name for name in os.environ if name.startswith('PADDLE_MOBILE_BACKBONES_MIRROR_')))
    for name, value in {**tuned, **{name: os.environ.get(name) for name in (*VARIABLES, *hidden) if name not in tuned}}.items():
        if value is not None:
            yield name, value if name not in hidden and re.fullmatch(r'[\w.,:;+ -]{0,100}', value) else 'is set'


def report():
    """All lines. A part that fails is replaced by its error, and the other parts follow."""
    tuned = settings.tune_cpu()
    parts = {'versions': versions, 'machine': machine, 'networks': networks, 'packages': packages,
             'settings': lambda: process(tuned)}
    for part, lines in parts.items():
        found = []
        try:
            found.extend(lines())
        except Exception as error:         # a broken installation is what the report is for
            reason = ' '.join(str(error).split())[:200].replace(str(ROOT), '...').replace(str(Path.home()), '~')
            found.append((part, f'cannot be found out: {type(error).__name__}: {reason}'))
        width = max(13, *(len(name) for name, _ in found))
        yield from (f'{name:{width}s} {value}' for name, value in found)
        yield ''


@exit_with_message
def main(argv=None):
    argparse.ArgumentParser(prog=typed or f'{Path(sys.executable).name} -m image_classification',
                            description='Print what a bug report should say about this installation.').parse_args(argv)
    settings.quieten()
    for line in report():
        print(line)
    print(QUESTIONS)


if __name__ == '__main__':
    main()
