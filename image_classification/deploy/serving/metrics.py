"""The server's metrics, for Prometheus."""
import time

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

_SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)


class Metrics:
    """The metrics of one server, in a registry of their own, so that a process may hold several servers (as the tests do)."""

    def __init__(self):
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)                   # memory, processor time, open files (on Linux)
        PlatformCollector(registry=self.registry)
        self.requests = Counter('requests', 'Answers by path and status', ['path', 'status'], registry=self.registry)
        self.seconds = Histogram('request_seconds', 'Time to answer /predict, from its headers on', buckets=_SECONDS,
                                 registry=self.registry)
        self.batches = Histogram('batch_images', 'Images per batch', buckets=(1, 2, 4, 8, 16, 32, 64, 128),
                                 registry=self.registry)

    def gauge(self, name, text, function):
        """Add a metric whose value is the result of `function` at the time of each query."""
        Gauge(name, text, registry=self.registry).set_function(function)

    def text(self):
        """All metrics, in Prometheus's text format."""
        return generate_latest(self.registry)


class CountAnswers:
    """ASGI middleware: counts the answers of `app` by path and status, and times /predict. Unknown paths count as one."""

    def __init__(self, app, metrics, paths):
        self.app, self.metrics, self.paths = app, metrics, paths

    async def __call__(self, scope, receive, send):
        if scope['type'] != 'http':
            return await self.app(scope, receive, send)
        path = scope['path'] if scope['path'] in self.paths else 'other'
        start = time.perf_counter()

        async def counted(message):
            if message['type'] == 'http.response.start':
                self.metrics.requests.labels(path, message['status']).inc()
                if path == '/predict':
                    self.metrics.seconds.observe(time.perf_counter() - start)
            await send(message)
        await self.app(scope, receive, counted)
