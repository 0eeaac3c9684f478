"""Load-test a server: python tools/benchmark_serve.py output/<run>/export, or the http:// address of a running server"""
import command_setup  # noqa: F401  (first: before Paddle is imported)

import collections
import http.client
import io
import json
import re
import signal
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
from PIL import Image

from image_classification.config.bounds import shortened, within
from image_classification.config.options import SECONDS, Parser
from image_classification.errors import UserError, exit_with_message
from image_classification.files import write_atomically

HEAD = ('| clients | requests/s | p50 ms | p90 ms | p99 ms | answered | refused (503) | errors | memory MiB |\n'
        '|---|---|---|---|---|---|---|---|---|')


def parse(argv):
    parser = Parser(description='Requests per second and latency of a server, over loopback or not. Flags '
                                                 'that are not listed here are passed to tools/serve.py.')
    parser.add_argument('model', help='a model as for tools/serve.py, or the address of a running server, http://HOST:PORT')
    parser.add_argument('images', nargs='*', help='files to send in turn; default: 8 generated JPEGs of 500 x 375 pixels')
    parser.add_argument('--clients', type=int, nargs='+', default=[1, 8, 64], bounds=within(1, 10_000),
                        help='numbers of simultaneous clients, each with one connection')
    parser.add_argument('--seconds', type=float, default=10, bounds=SECONDS, help='duration for each number of clients')
    parser.add_argument('--json', type=Path, help='also write the figures to this file')
    return parser.parse_known_args(argv)


def make_images():
    """Smooth random pictures that compress like photographs."""
    images, rng = [], np.random.default_rng(0)
    for _ in range(8):
        file = io.BytesIO()
        small = Image.fromarray(rng.integers(0, 256, (24, 32, 3), dtype=np.uint8))
        small.resize((500, 375), Image.Resampling.BICUBIC).save(file, 'JPEG', quality=90)
        images.append(file.getvalue())
    return images


class Load:
    """Clients that send one request after another. `run` returns a row of figures."""

    def __init__(self, address, images):
        parts = urlsplit(address)
        self.address, self.images = (parts.hostname, parts.port or 80), images

    def run(self, clients, seconds):
        latencies, answers, lock = [], collections.Counter(), threading.Lock()
        end = time.perf_counter() + seconds

        def work(number):
            connection, own, codes = http.client.HTTPConnection(*self.address, timeout=60), [], collections.Counter()
            while (start := time.perf_counter()) < end:
                try:
                    connection.request('POST', '/predict', self.images[number % len(self.images)])
                    answer = connection.getresponse()
                    answer.read()
                    codes['refused' if answer.status == 503 else 'answered' if answer.status == 200 else 'errors'] += 1
                    if answer.status == 200:
                        own.append(time.perf_counter() - start)
                    elif answer.status == 503:
                        time.sleep(float(answer.headers['Retry-After']))
                except (OSError, http.client.HTTPException):
                    codes['errors'] += 1
                    connection.close()
                number += 1
            connection.close()
            with lock:
                latencies.extend(own)
                answers.update(codes)

        start = time.perf_counter()
        threads = [threading.Thread(target=work, args=(number,)) for number in range(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        wall = time.perf_counter() - start
        cuts = statistics.quantiles(latencies, n=100) if len(latencies) > 1 else [float('nan')] * 99
        return {'clients': clients, 'requests_per_second': answers['answered'] / wall,
                **{f'p{percent}_ms': 1000 * cuts[percent - 1] for percent in (50, 90, 99)},
                **{name: answers[name] for name in ('answered', 'refused', 'errors')}, 'memory_mib': self.memory()}

    def memory(self):
        """Resident memory of the server in MiB, read from its /metrics; None if it is not among them."""
        connection = http.client.HTTPConnection(*self.address, timeout=60)
        try:
            connection.request('GET', '/metrics')
            found = re.search(rb'^process_resident_memory_bytes (\S+)', connection.getresponse().read(), re.M)
        finally:
            connection.close()
        return float(found[1]) / (1 << 20) if found else None


def as_row(figures):
    cells = [figures['clients'], *(f'{figures[key]:.1f}' for key in ('requests_per_second', 'p50_ms', 'p90_ms', 'p99_ms')),
             *(figures[key] for key in ('answered', 'refused', 'errors')),
             '-' if figures['memory_mib'] is None else f'{figures["memory_mib"]:.0f}']
    return f'| {" | ".join(map(str, cells))} |'


def start_server(model, flags):
    """(process, its first line, its address)"""
    command = [sys.executable, str(Path(__file__).resolve().with_name('serve.py')), model, '--port', '0', *flags]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    line = process.stdout.readline()
    address = re.search(r'http://\S+?(?=;)', line)
    if not address:
        raise UserError(f'tools/serve.py ended with exit code {process.wait()}; its message is above')
    return process, line.split(';')[0], address[0]


@exit_with_message
def main(argv=None):
    args, flags = parse(argv)
    try:
        images = [Path(file).read_bytes() for file in args.images] or make_images()
    except OSError as error:
        raise UserError(f'{error.filename} cannot be read: {error.strerror}; wanted image files') from None
    process, title, address = None, args.model, args.model
    if not args.model.startswith('http://'):
        process, title, address = start_server(args.model, flags)
    elif flags:
        raise UserError(f'{flags[0]} is unknown, or cannot be set for a running server; --help lists the flags')
    try:
        try:
            load = Load(address, images)
            before = load.memory()
            load.run(1, 1)                                         # warm
        except (OSError, ValueError, http.client.HTTPException) as error:    # the latter two for malformed addresses
            raise UserError(f'{shortened(address)} does not answer: {error}; wanted the address of tools/serve.py') from None
        print(f'{title}; memory before {"unknown" if before is None else f"{before:.0f} MiB"}\n{HEAD}', flush=True)
        rows = []
        for clients in args.clients:
            rows.append(load.run(clients, args.seconds))
            print(as_row(rows[-1]), flush=True)
    finally:
        if process:
            process.send_signal(signal.SIGTERM)
            process.wait()
    if args.json:
        content = json.dumps({'server': title, 'memory_before_mib': before, 'rows': rows}, indent=1)
        write_atomically(args.json, lambda path: path.write_text(content), 'Choose another --json.')


if __name__ == '__main__':
    main()
