"""The text for a bug report: python -m image_classification

Versions, processor and device, networks, which extras are missing and how to install them, settings of the process. Of the
environment only the variables below are looked at, and of paths nothing is said.
"""
import argparse
import os
import platform
import re
import runpy
import struct
import subprocess
import sys
from collections import Counter
from importlib import metadata
from pathlib import Path

import paddle
import setuptools

import image_classification as ic
from image_classification.config import model_yamls
from image_classification.deploy import engines
from image_classification.errors import exit_with_message
from image_classification.cpu import operators
from image_classification.models import list_pretrained

NAME = 'paddle-mobile-backbones'
PROJECT = Path(__file__).resolve().parents[1]
FEATURES = ('avx', 'avx2', 'avx512f', 'avx512_vnni', 'avx512_bf16', 'amx_int8', 'amx_bf16', 'asimd')      # of a processor
# Variables that change what happens; of those in HIDDEN, which may hold names and passwords, only that they are set.
VARIABLES = ('OMP_NUM_THREADS', 'MKL_NUM_THREADS', 'MKL_DEBUG_CPU_TYPE', 'GLOG_minloglevel', 'CUDA_VISIBLE_DEVICES',
             'FLAGS_enable_pir_api', 'FLAGS_use_mkldnn', *(f'PADDLE_MOBILE_BACKBONES_{name}' for name in
                                                           ('PLAIN', 'OPERATORS', 'OFFLINE', 'TIMEOUT')))
HIDDEN = ('PADDLE_MOBILE_BACKBONES_HOME', 'PADDLE_MOBILE_BACKBONES_MIRROR', 'HF_ENDPOINT', 'HTTP_PROXY', 'HTTPS_PROXY')


def versions():
    yield 'library', f'{NAME} {ic.__version__}{_commit()}'
    yield 'Python', f'{platform.python_version()} ({platform.python_implementation()}, {8 * struct.calcsize("P")} bit)'
    yield 'system', platform.platform()
    build = f'CUDA {paddle.version.cuda()}, cuDNN {paddle.version.cudnn()}' if paddle.is_compiled_with_cuda() else 'CPUs'
    yield 'PaddlePaddle', f'{paddle.__version__} for {build}, commit {paddle.version.commit[:10]}'


def _commit():
    """', commit ...' in a clone, with a word on changes; else nothing."""
    if not (PROJECT / '.git').exists():
        return ''
    try:
        found = [subprocess.run(['git', *words], cwd=PROJECT, capture_output=True, text=True, timeout=10, check=True).stdout
                 for words in (['rev-parse', '--short', 'HEAD'], ['status', '--porcelain'])]
    except (OSError, subprocess.SubprocessError):
        return ', a clone'
    return f', commit {found[0].strip()}{" with changes" if found[1].strip() else ""}'


def machine():
    yield 'device', paddle.get_device()
    if paddle.is_compiled_with_cuda():
        for index in range(paddle.device.cuda.device_count()):
            gpu = paddle.device.cuda.get_device_properties(index)
            yield f'GPU {index}', f'{gpu.name}, {gpu.total_memory / 2**30:.1f} GiB, capability {gpu.major}.{gpu.minor}'
    model, flags = _processor()
    yield 'processor', ', '.join([model, *(name for name in FEATURES if name in flags)])
    usable = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()
    yield 'cores', f'{usable} of {os.cpu_count()}'
    if hasattr(os, 'sysconf'):
        yield 'memory', f'{os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30:.1f} GiB'


def _processor():
    """(name of the processor, what it can do as Linux calls it)."""
    try:
        text = Path('/proc/cpuinfo').read_text(encoding='utf-8', errors='replace')
    except OSError:
        return platform.processor() or platform.machine(), []
    fields = dict(re.findall(r'^([\w ]+?)\s*:\s*(.*)$', text, re.M))
    return fields.get('model name') or platform.machine(), (fields.get('flags') or fields.get('Features') or '').split()


def networks():
    yamls, weights = model_yamls(), list_pretrained()
    families = Counter(Path(path).parent.name for path in yamls.values())
    yield 'networks', f'{len(yamls)} in {len(families)} families'
    yield 'families', ', '.join(f'{name} ({count})' for name, count in sorted(families.items()))
    yield 'weights', f'{len(weights)} published for {len({name for name, _ in weights})} of them'
    yield 'engines', f'{", ".join(engines.available())} for exports'
    advice = 'not compiled, or switched off; to compile: python -m image_classification.cpu.build_operators'
    yield 'operators', 'compiled' if operators.loaded() else advice


def packages():
    """What the library needs, then every extra: what is there, and how to install what is missing."""
    requirements = requirements_of_extras()
    if not requirements:
        yield 'packages', 'unknown: the library is neither installed nor in its clone'
        return
    for text in requirements.pop(''):
        found, problem = check(text)
        yield found.split()[0], f'{(found.split() + ["-"])[1]}{f", {problem}" if problem else ""}'
    for extra, texts in requirements.items():
        checked = [check(text) for text in texts if applies(text)]
        problems = [f'{found} {problem}' for found, problem in checked if problem]
        target = f"-e '.[{extra}]'" if _setup_file() else f"'{NAME}[{extra}]'"
        missing = f'missing: {", ".join(problems)}; pip install {target}'
        yield f'[{extra}]', missing if problems else ', '.join(found for found, _ in checked)


def requirements_of_extras():
    """{extra, or '' for what is needed always: [requirement]}, from setup.py in a clone (what is installed may be older), else
    from what pip has installed; {} where there is neither."""
    if _setup_file():
        given = _setup_arguments(_setup_file())
        return {'': given['install_requires'], **given['extras_require']}
    try:
        lines = metadata.requires(NAME) or []
    except metadata.PackageNotFoundError:
        return {}
    found = {'': []}
    for line in lines:
        extra = re.search(r'''extra == ["']([\w.-]+)["']''', line)
        found.setdefault(extra[1] if extra else '', []).append(line)
    return found


def _setup_file():
    """The library's own setup.py, in a clone; None beside other packages, where one of that name would not be ours."""
    path = PROJECT / 'setup.py'
    return path if path.is_file() and f"name='{NAME}'" in path.read_text(encoding='utf-8') else None


def _setup_arguments(path):
    """The keywords with which a setup.py calls `setup`, which does nothing here."""
    given, setup = {}, setuptools.setup
    setuptools.setup = lambda **keywords: given.update(keywords)
    try:
        runpy.run_path(str(path))
    finally:
        setuptools.setup = setup
    return given


def applies(requirement):
    """Whether it is for this version of Python; other conditions count as met."""
    limit = re.search(r'''python_version\s*([<>=!]+)\s*["']([\d.]+)["']''', requirement)
    return not limit or _compare(platform.python_version(), limit[1], limit[2])


def check(requirement):
    """('name version' or 'name', '' or what is wrong with it) of a requirement like 'onnx<1.18; python_version < "3.13"'."""
    wanted = requirement.partition(';')[0].strip().rstrip(')').replace('(', '')
    name = re.match(r'[\w.-]+', wanted)[0]
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        # The build for GPUs has another name.
        version = paddle.__version__ if name == 'paddlepaddle' else None
    if version is None:
        return name, f'is not installed{f" (wanted {wanted[len(name):]})" if len(wanted) > len(name) else ""}'
    limits = re.findall(r'([<>=!~]=?)\s*([\w.]+)', wanted[len(name):])
    if all(_compare(version, sign, limit) for sign, limit in limits):
        return f'{name} {version}', ''
    return f'{name} {version}', f'does not fit (wanted {wanted[len(name):]})'


def _compare(version, sign, limit):
    """Whether a version is <, <=, ==, !=, >= or > a limit, by their whole numbers; '1.17' == '1.17.0'."""
    a, b = ([int(part) for part in re.match(r'[\d.]*', text)[0].split('.') if part] for text in (version, limit))
    a, b = (numbers + [0] * (max(len(a), len(b)) - len(numbers)) for numbers in (a, b))
    return {'<': a < b, '<=': a <= b, '==': a == b, '!=': a != b, '>': a > b}.get(sign, a >= b)


def settings():
    plain = os.environ.get('PADDLE_MOBILE_BACKBONES_PLAIN') == '1'
    yield 'settings', 'none: PADDLE_MOBILE_BACKBONES_PLAIN' if plain else 'those of image_classification/cpu/settings.py'
    for name in (*VARIABLES, *HIDDEN):
        value = os.environ.get(name)
        if value is not None:
            yield name, value if name in VARIABLES and re.fullmatch(r'[\w.,:+-]{0,40}', value) else 'is set'


def report():
    """All lines. What cannot be found out says why, and the rest follows."""
    for part in (versions, machine, networks, packages, settings):
        found = []
        try:
            found.extend(part())
        except Exception as error:         # of a broken installation, which is what the report is about
            reason = ' '.join(str(error).split())[:200].replace(str(PROJECT), '...').replace(str(Path.home()), '~')
            found.append((part.__name__, f'cannot be found out: {type(error).__name__}: {reason}'))
        width = max(13, *(len(name) for name, _ in found))
        yield from (f'{name:{width}s} {value}' for name, value in found)
        yield ''


@exit_with_message
def main():
    argparse.ArgumentParser(prog=f'{Path(sys.executable).name} -m image_classification',
                            description='Print what a bug report should say of this installation.').parse_args()
    for line in report():
        print(line)


if __name__ == '__main__':
    main()
