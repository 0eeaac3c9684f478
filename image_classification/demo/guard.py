"""Restricts requests to the page and its answers: an ASGI application around gradio's.

Gradio offers far more than the page needs. It downloads addresses. It copies any requested file into its folder, unless it was
launched in its own way. Its answers reveal the server's paths. So only requests of the page's own script get through, and
uploads and pictures are handled here. Requests cannot name other files, and answers contain no paths.
"""
import asyncio
import dataclasses
import json
import re

from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response

from image_classification.demo.pictures import TYPES
from image_classification.deploy.serving.uploads import Uploads, image_bytes

_API = '/gradio_api'
_STREAM = f'{_API}/queue/data'
_READ = re.compile(r'/|/config|/theme\.css|/manifest\.json|/favicon\.ico|/(assets|static)/[^\\]*|'
                   rf'{_API}/(info|startup-events|heartbeat/\w+)|{_STREAM}')
_SENT = ('data', 'event_data', 'fn_index', 'trigger_id', 'session_hash')
_TEXT = ('text/html', 'application/json', 'text/event-stream', 'text/plain')
_EVENT_MB = 1 / 16                                                 # MiB: largest request for a prediction
_DECODERS = 2
_HEADERS = {
    'Content-Security-Policy': "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
                               "img-src 'self' data: blob:; media-src 'self' blob:; font-src 'self' data:; "
                               "worker-src 'self' blob:; connect-src 'self' blob: data:; object-src 'none'; "
                               "base-uri 'self'; form-action 'self'; frame-ancestors 'self'",
    'X-Content-Type-Options': 'nosniff',
    'Referrer-Policy': 'no-referrer',
}


class Guard:
    """ASGI application that applies these rules to `page`.

    Args:
        page: gradio's application, at the root.
        pictures: PictureStore in whose folder gradio keeps its files.
        settings: the Settings of uploads.
    """

    def __init__(self, page, pictures, settings):
        self._page, self._pictures = page, pictures
        self._uploads, self._events = Uploads(settings), Uploads(dataclasses.replace(settings, max_upload_mb=_EVENT_MB))
        self._decoders = asyncio.Semaphore(_DECODERS)              # each holds a whole picture in memory

    async def __call__(self, scope, receive, send):
        if scope['type'] != 'http':
            return await self._page(scope, receive, send)
        send = self._guarded(send)
        request = Request(scope, receive)
        try:
            answer = await self._answer(request)
        except HTTPException as error:
            kind = PlainTextResponse if request.url.path == f'{_API}/upload' else JSONResponse   # which the page can show
            content = error.detail if kind is PlainTextResponse else {'detail': error.detail}
            answer = kind(content, error.status_code, error.headers)
        if answer is None:
            query = scope['query_string'] if scope['path'] == _STREAM else b''     # the page needs no others
            headers = [(name, value) for name, value in scope['headers'] if name != b'accept-encoding']
            scope = {**scope, 'headers': headers, 'query_string': query}           # uncompressed, for `_guarded`
            answer = self._page
        elif isinstance(answer, bytes):
            receive, answer = _instead(answer, receive), self._page
        await answer(scope, receive, send)

    async def _answer(self, request):
        """A response; or the bytes of a new body for gradio to answer; or None if gradio may answer the request as it is."""
        path, method = request.url.path, request.method
        if method == 'POST' and path == f'{_API}/upload':
            return await self._upload(request)
        if method == 'POST' and path == f'{_API}/queue/join':
            return await self._event(request)
        if method in ('GET', 'HEAD'):
            if path.startswith(f'{_API}/file='):
                return self._picture(path.removeprefix(f'{_API}/file='))
            if path == f'{_API}/upload_progress':                  # for the page's progress bar of slow uploads
                return Response('data: {"msg": "done"}\n\n', media_type='text/event-stream')
            if _READ.fullmatch(path):
                return None
        raise HTTPException(404, 'there is nothing here')

    async def _upload(self, request):
        """Store the picture in a form. The answer is a list with its path below ALIAS."""
        async with self._uploads.body(request) as body:
            try:
                data, _ = await image_bytes(request, body)
            except MultiPartException as error:
                raise HTTPException(400, error.message) from None
            async with self._decoders:
                return JSONResponse([await asyncio.to_thread(self._pictures.add, data)])

    def _picture(self, path):
        file = self._pictures.find(path)
        if file is None:
            raise HTTPException(404, 'there is no such picture')
        return FileResponse(file, media_type=TYPES[file.suffix])

    async def _event(self, request):
        """A request for a prediction, with the real paths of its files, and without anything that the page does not send."""
        try:
            async with self._events.body(request) as body:
                event = json.loads(body)
            event = {key: event[key] for key in _SENT if key in event}
            event['data'] = [self._known(value) for value in event['data']]
            return json.dumps(event).encode()
        except (ValueError, TypeError, KeyError, RecursionError):
            raise HTTPException(400, 'the request is none that the page sends') from None

    def _known(self, value):
        """A picture in gradio's form; text and numbers are returned unchanged."""
        if value is None or isinstance(value, (str, int, float)):
            return value
        file = self._pictures.find(value['path'])
        if file is None:
            raise HTTPException(404, 'this picture is not here any more; choose it again')
        return {'path': str(file), 'meta': {'_type': 'gradio.FileData'}}

    def _guarded(self, send):
        """A `send` that adds this module's headers and hides the folder's path."""
        is_text = False

        async def guarded(message):
            nonlocal is_text
            if message['type'] == 'http.response.start':
                headers = {name.lower(): value for name, value in message['headers']
                           if not name.lower().startswith(b'access-control-')}
                is_text = headers.get(b'content-type', b'').decode('latin-1').split(';')[0] in _TEXT
                if is_text:
                    headers.pop(b'content-length', None)           # hiding paths changes it
                headers.update((name.lower().encode(), value.encode()) for name, value in _HEADERS.items())
                message = {**message, 'headers': list(headers.items())}
            elif is_text and message['type'] == 'http.response.body':
                message = {**message, 'body': self._pictures.hide(message.get('body', b''))}
            await send(message)
        return guarded


def _instead(body, receive):
    """An ASGI `receive` that gives `body` first, then the client's further messages: that it has disconnected."""
    messages = [{'type': 'http.request', 'body': body, 'more_body': False}]

    async def next_message():
        return messages.pop() if messages else await receive()
    return next_message
