"""Serve a network over HTTP: python tools/serve.py output/<run>/export, then curl --data-binary @photo.jpg ADDRESS/predict"""
import command_setup  # noqa: F401  (first: before Paddle is imported)

from dataclasses import fields

from image_classification.config.options import HOST, PORT, THREADS, Parser
from image_classification.deploy.by_name import FORMS, open_predictor
from image_classification.deploy.predictor import ENGINES
from image_classification.errors import exit_with_message, missing_package

HELP = {
    'max_batch': 'most images in one batch',
    'max_wait_ms': 'milliseconds that the first image of a batch waits for others',
    'max_queue': 'most images waiting for their answer; further ones are refused with status 503',
    'max_upload_mb': 'MiB of one request; larger ones are refused with status 413',
    'max_upload_memory_mb': 'MiB of all requests that are being received or decoded',
    'max_pixels': 'width times height of an image; larger ones are refused with status 413',
    'timeout': 'seconds for the headers of a request, then for its body, then until the answer',
    'max_connections': 'most open connections; further ones are closed',
    'decode_threads': 'threads that decode and scale images',
}


def parse(settings, argv):
    parser = Parser(description='Classify images over HTTP: POST /predict, GET /health, GET /metrics.')
    parser.add_argument('model', help=FORMS)
    parser.add_argument('--weights', help='weights for a network given by name, instead of =WEIGHTS')
    parser.add_argument('--host', default='127.0.0.1', bounds=HOST,
                        help='address to listen on; 0.0.0.0 means all addresses of this machine; default: 127.0.0.1, which '
                             'only this machine can reach')
    parser.add_argument('--port', type=int, default=8000, bounds=PORT, help='0 picks a free port; default: 8000')
    parser.add_argument('--engine', choices=ENGINES, default='auto', help='default: auto, the fastest one available')
    parser.add_argument('--threads', type=int, bounds=THREADS, help='threads that an engine uses for one batch')
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
    predictor.warm_up()                                            # also finds damaged weights
    server = Server(predictor, settings, args.host, args.port)
    print(f'{predictor.name} ({predictor.engine}) at {server.address}; Ctrl-C or SIGTERM stops', flush=True)
    server.run()
    print('stopped', flush=True)


if __name__ == '__main__':
    main()
