"""The answers of the server: POST /predict, GET /health and GET /metrics."""
import asyncio
import contextlib
import logging
from concurrent.futures import ThreadPoolExecutor

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from image_classification.deploy.serving.batcher import Batcher
from image_classification.deploy.serving.metrics import CountAnswers, Metrics
from image_classification.deploy.serving.uploads import Uploads, decode, image_bytes
from image_classification.names.text import shown

_LOG = logging.getLogger('uvicorn.error')


class Service:
    """A predictor with its decoders, batcher and upload limits. The application calls `start` and `stop`."""

    def __init__(self, predictor, settings):
        self.predictor, self.settings = predictor, settings
        self.metrics, self.uploads = Metrics(), Uploads(settings)
        self.ready = False
        self._admitted = 0                                         # images that are uploaded and not yet answered
        self.metrics.gauge('queue_images', 'Images that wait for their answer', lambda: self._admitted)
        self.metrics.gauge('upload_bytes', 'Bytes of uploads in memory', lambda: self.uploads.held)

    def start(self):
        settings = self.settings
        self._decoders = ThreadPoolExecutor(settings.decode_threads, 'decode')
        self._batcher = Batcher(self.predictor.probabilities, settings.max_batch, settings.max_wait_ms / 1000,
                                self.metrics.batches.observe)
        self.predictor.warm_up((1, settings.max_batch))
        self.ready = True

    def stop(self):
        """Finish the requests that are being answered."""
        self.ready = False
        self._decoders.shutdown()
        self._batcher.close()

    async def predict(self, request):
        """POST /predict?top_k=5: the best classes of an image, which is the body or the file of a form."""
        async with self.uploads.body(request) as body:
            data, fields = await image_bytes(request, body)
            top_k = _top_k(request.query_params.get('top_k', fields.get('top_k', '5')))
            with self._admission():
                try:
                    probabilities = await asyncio.wait_for(self._classify(data), self.settings.timeout)
                except asyncio.TimeoutError:
                    raise HTTPException(503, f'no answer within {self.settings.timeout:g} s; try again later',
                                        {'Retry-After': '1'}) from None
        best = self.predictor.top_k(probabilities, top_k)
        return JSONResponse({'model': self.predictor.name,
                             'predictions': [{'class': shown(name), 'probability': round(p, 6)} for name, p in best]})

    @contextlib.contextmanager
    def _admission(self):
        if self._admitted >= self.settings.max_queue:
            raise HTTPException(503, f'{self._admitted} images wait already; try again later', {'Retry-After': '1'})
        self._admitted += 1
        try:
            yield
        finally:
            self._admitted -= 1

    async def _classify(self, data):
        array = await asyncio.get_running_loop().run_in_executor(self._decoders, self._prepare, data)
        return await asyncio.wrap_future(self._batcher.submit(array))

    def _prepare(self, data):
        preprocess = self.predictor.preprocess
        return self.predictor.prepare(decode(data, preprocess.channels, self.settings.max_pixels))

    async def health(self, request):
        """GET /health: 200 once the network is warm."""
        content = {'live': True, 'ready': self.ready, 'model': self.predictor.name, 'engine': self.predictor.engine}
        return JSONResponse(content, 200 if self.ready else 503)

    async def show_metrics(self, request):
        """GET /metrics."""
        return Response(self.metrics.text(), headers={'Content-Type': CONTENT_TYPE_LATEST})


def _top_k(text):
    if not (text.isascii() and text.isdigit() and 0 < int(text[:9]) and len(text) < 10):
        raise HTTPException(400, 'top_k is no whole number above 0')
    return int(text)


async def _refuse(request, error):
    """Answer an HTTPException in JSON."""
    unknown = error.status_code in (404, 405)
    text = 'wanted POST /predict, GET /health or GET /metrics' if unknown else error.detail
    return JSONResponse({'error': text}, error.status_code, error.headers)


async def _fail(request, error):
    """The answer to an internal error. Details go to the log only, not to the client."""
    return JSONResponse({'error': 'internal error'}, 500)


def build_app(predictor, settings):
    """The ASGI application that serves `predictor`; its `state.service` is the Service."""
    service = Service(predictor, settings)

    @contextlib.asynccontextmanager
    async def lifespan(app):
        await asyncio.to_thread(service.start)
        yield
        await asyncio.to_thread(service.stop)

    routes = [Route('/predict', service.predict, methods=['POST']), Route('/health', service.health),
              Route('/metrics', service.show_metrics)]
    counting = Middleware(CountAnswers, metrics=service.metrics, paths={route.path for route in routes})
    app = Starlette(routes=routes, middleware=[counting], lifespan=lifespan,
                    exception_handlers={HTTPException: _refuse, Exception: _fail})
    app.state.service = service
    return app
