"""Reads an image from a client's request, within the limits that the settings set on size, time and format."""
import asyncio
import contextlib
import io
from dataclasses import dataclass, field, fields

from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

from image_classification.config import check
from image_classification.config.bounds import whole, within
from image_classification.config.options import MEBIBYTES, PIXELS, SECONDS
from image_classification.datasets.images import TooManyPixels, open_image
from image_classification.errors import UserError

# Formats with small decoders. Pillow reads 40 more, some of them (EPS) by starting another program.
FORMATS = ('JPEG', 'PNG', 'WEBP', 'GIF', 'BMP')
_CLOSE = {'Connection': 'close'}                                   # for answers given before the whole body was read
_BUSY = {'Retry-After': '1'}                                       # seconds
_DISCARD_SECONDS, _DISCARD_BYTES = 2, 64 << 20                     # how much of a body that is too large is read and dropped


def _setting(default, bounds):
    return field(default=default, metadata={'bounds': bounds})


@dataclass(frozen=True)
class Settings:
    """The settings of a server. Raises UserError if a number is out of its bounds."""
    max_batch: int = _setting(16, whole(1, 1024))                  # images in one forward pass
    max_wait_ms: float = _setting(2.0, within(0, 60_000))          # how long the first image of a batch waits for more
    max_queue: int = _setting(256, whole(1, 1_000_000))            # images that wait for their answer; more get a 503
    max_upload_mb: float = _setting(10.0, MEBIBYTES)               # body of one request
    max_upload_memory_mb: float = _setting(256.0, MEBIBYTES)       # bodies of all requests being received or decoded
    max_pixels: int = _setting(40_000_000, PIXELS)                 # width times height
    timeout: float = _setting(10.0, SECONDS)                       # each: for the headers, the body, and then the answer
    max_connections: int = _setting(1000, whole(1, 1_000_000))
    decode_threads: int = _setting(2, whole(1, 1024))

    def __post_init__(self):
        for setting in fields(self):
            check(setting.name, getattr(self, setting.name), setting.metadata['bounds'])


class Uploads:
    """Reads the bodies of requests; `held` is the number of their bytes in memory."""

    def __init__(self, settings):
        self.held = 0
        self._settings = settings
        self._most = int(settings.max_upload_mb * (1 << 20))
        self._most_held = int(settings.max_upload_memory_mb * (1 << 20))

    @contextlib.asynccontextmanager
    async def body(self, request):
        """The body of a request as a bytearray, which counts as held until the end of the block.

        Raises:
            HTTPException: the body is too large (413), too slow (408), incomplete (400) or encoded (415), or too many others
                are being received (503).
        """
        if request.headers.get('content-encoding', 'identity') != 'identity':
            raise HTTPException(415, 'the body has a Content-Encoding; wanted the image file as it is', _CLOSE)
        data = bytearray()
        try:
            try:
                await asyncio.wait_for(self._read(request, data), self._settings.timeout)
            except asyncio.TimeoutError:
                raise HTTPException(408, f'the body did not arrive within {self._settings.timeout:g} s', _CLOSE) from None
            except ClientDisconnect:
                raise HTTPException(400, 'the body ended before its announced length', _CLOSE) from None
            yield data
        finally:
            self.held -= len(data)

    async def _read(self, request, data):
        stream = request.stream()
        announced = request.headers.get('content-length', '0')
        if int(announced) <= self._most:                           # h11 accepts only digits
            async for chunk in stream:
                if len(data) + len(chunk) > self._most:
                    break
                if self.held + len(chunk) > self._most_held:
                    raise HTTPException(503, 'too many uploads at once; try again later', {**_BUSY, **_CLOSE})
                self.held += len(chunk)
                data += chunk
            else:
                return
        if 'expect' not in request.headers:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(_discard(stream), _DISCARD_SECONDS)
        raise HTTPException(413, f'the body is larger than {self._settings.max_upload_mb:g} MiB', _CLOSE)


async def _discard(stream):
    """Read a little more and drop it: a client that is cut off while it sends does not read the answer."""
    size = 0
    async for chunk in stream:
        size += len(chunk)
        if size > _DISCARD_BYTES:
            return


async def image_bytes(request, body):
    """(bytes of the image, fields of the form). The image is the body itself, or the only file of a multipart form.

    Raises:
        HTTPException: the form is damaged, or does not have exactly one file (400).
    """
    if request.headers.get('content-type', '').split(';')[0].strip().lower() != 'multipart/form-data':
        return bytes(body), {}

    async def receive():
        return {'type': 'http.request', 'body': bytes(body), 'more_body': False}

    async with Request(request.scope, receive).form(max_files=1, max_fields=8) as form:
        files = [value for value in form.values() if isinstance(value, UploadFile)]
        if not files:
            raise HTTPException(400, 'the form has no file; send the image as a file, e.g. curl -F image=@photo.jpg')
        return await files[0].read(), {key: value for key, value in form.items() if isinstance(value, str)}


def decode(data, channels, max_pixels):
    """Bytes of an image file -> PIL image. Raises HTTPException: too many pixels (413), or not an accepted image (400)."""
    try:
        return open_image(io.BytesIO(data), channels, FORMATS, max_pixels)
    except TooManyPixels as error:
        raise HTTPException(413, str(error)) from None
    except UserError as error:
        raise HTTPException(400, str(error)) from None
