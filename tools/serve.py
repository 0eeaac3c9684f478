"""Serve a network over HTTP: python tools/serve.py output/<run>/export, then curl --data-binary @photo.jpg ADDRESS/predict"""
import command_setup  # noqa: F401  (first: before Paddle is imported)

from dataclasses import fields

from image_classification.config.options import HOST, PORT, THREADS, Parser
from image_classification.deploy.by_name import FORMS, open_predictor
from image_classification.deploy.predictor import ENGINES
from image_classification.errors import exit_with_message, missing_package

HELP = {
    'max_batch': 'images that pass the network at once',
    'max_wait_ms': 'milliseconds for which the first image of a batch waits for more',
    'max_queue': 'images that wait for their answer; more are refused with status 503',
    'max_upload_mb': 'MiB of one request; larger ones are refused with status 413',
    'max_upload_memory_mb': 'MiB of all requests that are being received or decoded',
    'max_pixels': 'width times height of an image; larger ones are refused with status 413',
    'timeout': 'seconds for the headers of a request, for its body, and from then to the answer',
    'max_connections': 'open at once; more are closed',
    'decode_threads': 'threads that decode and scale images',
}


def parse(settings, argv):
    parser = Parser(description='Classify images over HTTP: POST /predict, GET /health, GET /metrics.')
    parser.add_argument('model', help=FORMS)
    parser.add_argument('--weights', help='of a network by its name, in place of =WEIGHTS')
    parser.add_argument('--host', default='127.0.0.1', bounds=HOST,
                        help='address to listen on; 0.0.0.0 is every one of this machine; default: 127.0.0.1, which only this '
                             'machine reaches')
    parser.add_argument('--port', type=int, default=8000, bounds=PORT, help='0 takes a free one; default: 8000')
    parser.add_argument('--engine', choices=ENGINES, default='auto', help='default: auto, the fastest that is there')
    parser.add_argument('--threads', type=int, bounds=THREADS, help='with which an engine computes one batch')
    for field in fields(settings):
        parser.add_argument(f'--{field.name.replace("_", "-")}', type=field.type, default=field.default,
                            bounds=field.metadata['bounds'], help=f'{HELP[field.name]}; default: {field.default}')
    return parser.parse_args(argv)


@exit_with_message
def main(argv=None):
    try:
        from image_classification.deploy.serving.server import Server
        from image_classification.deploy.serving.uploads import Settings
    except ImportError as error:
        raise missing_package(f'the server needs {error.name}, which', 'serve') from None
    args = parse(Settings, argv)
    settings = Settings(**{field.name: getattr(args, field.name) for field in fields(Settings)})
    predictor = open_predictor(args.model, args.weights, args.engine, threads=args.threads)
    server = Server(predictor, settings, args.host, args.port)
    print(f'{predictor.name} ({predictor.engine}) at {server.address}; Ctrl-C or SIGTERM stops', flush=True)
    server.run()
    print('stopped', flush=True)


if __name__ == '__main__':
    main()
