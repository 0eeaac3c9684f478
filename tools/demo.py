"""Serve a web page to try networks on: python tools/demo.py output/<run>/best.safetensors mobilenet_v2_x1_0=weights.pth"""
import command_setup  # noqa: F401  (first: before Paddle is imported)

from image_classification.config.options import HOST, MEBIBYTES, MINUTES, PIXELS, PORT, SECONDS, THREADS, Parser
from image_classification.deploy.by_name import FORMS
from image_classification.deploy.predictor import ENGINES
from image_classification.errors import exit_with_message, missing_package

PATIENCE = 2                                                       # seconds to let answers finish: open pages never disconnect
MAX_CONNECTIONS = 200


def parse(argv):
    parser = Parser(description='Serve a web page: drop a picture, see classes, latency and heat map, '
                                                 'and compare two networks.')
    parser.add_argument('networks', nargs='+', metavar='NETWORK',
                        help=f'{FORMS}; weights are downloaded unless they are on this machine')
    parser.add_argument('--host', default='127.0.0.1', bounds=HOST,
                        help='address to listen on; 0.0.0.0 means all addresses of this machine; default: 127.0.0.1, which '
                             'only this machine can reach')
    parser.add_argument('--port', type=int, default=7860, bounds=PORT, help='0 picks a free port; default: 7860')
    parser.add_argument('--engine', choices=ENGINES, default='auto', help='engine of exports; default: auto, the fastest one')
    parser.add_argument('--threads', type=int, bounds=THREADS, help='threads that an export uses')
    parser.add_argument('--max-upload-mb', type=float, default=10.0, bounds=MEBIBYTES,
                        help='largest picture in MiB; default: 10')
    parser.add_argument('--max-pixels', type=int, default=40_000_000, bounds=PIXELS,
                        help='largest picture in pixels, width times height; default: 40000000')
    parser.add_argument('--max-store-mb', type=float, default=512.0, bounds=MEBIBYTES,
                        help='MiB of all stored pictures; the oldest are deleted first; default: 512')
    parser.add_argument('--keep-minutes', type=float, default=30.0, bounds=MINUTES,
                        help='minutes for which a picture is stored; default: 30')
    parser.add_argument('--timeout', type=float, default=30.0, bounds=SECONDS,
                        help='seconds that an upload may take; default: 30')
    return parser.parse_args(argv)


@exit_with_message
def main(argv=None):
    args = parse(argv)
    try:
        from image_classification.demo.page import build_app
        from image_classification.deploy.serving.server import AppServer
    except ImportError as error:
        raise missing_package(f'the page needs {error.name}, which', 'demo') from None
    from image_classification.demo.candidates import open_candidates
    from image_classification.demo.pictures import PictureStore
    from image_classification.deploy.serving.uploads import Settings
    settings = Settings(max_upload_mb=args.max_upload_mb, max_pixels=args.max_pixels, timeout=args.timeout,
                        max_connections=MAX_CONNECTIONS)
    candidates = open_candidates(args.networks, args.engine, args.threads)
    with PictureStore(args.max_pixels, args.max_store_mb, args.keep_minutes) as pictures:
        server = AppServer(build_app(candidates, pictures, settings), settings, args.host, args.port, PATIENCE)
        print(f'{", ".join(candidates)} at {server.address}; Ctrl-C or SIGTERM stops', flush=True)
        server.run()
    print('stopped', flush=True)


if __name__ == '__main__':
    main()
