"""Connections: request headers, redirects, and the kinds of failures."""
import http.client
import re
import socket
import ssl
import urllib.error
import urllib.request
from contextlib import contextmanager
from urllib.parse import urlsplit

BLOCK = 1 << 18                                                    # bytes
HEADERS = {'User-Agent': 'paddle-mobile-backbones', 'Accept-Encoding': 'identity'}


class TransientFailure(Exception):
    """A failure that may not recur if tried again; `wait` is the pause in seconds that the server asks for."""

    def __init__(self, message, wait=0):
        super().__init__(message)
        self.wait = wait


class PermanentFailure(Exception):
    """A failure that would recur in every attempt."""


class Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects, including 308, with all headers (Range among them), to http and https, never from https to http."""

    def redirect_request(self, req, fp, code, msg, headers, newurl):
        if urlsplit(newurl).scheme not in {'https', req.type}:
            raise PermanentFailure(f'the server redirects to {newurl}, which is not safe to follow')
        return urllib.request.Request(newurl.replace(' ', '%20'), headers=req.headers, unverifiable=True)

    http_error_308 = urllib.request.HTTPRedirectHandler.http_error_302      # Python 3.10 lacks it


@contextmanager
def network_failures(timeout):
    """Turn exceptions of the network into TransientFailure or PermanentFailure."""
    try:
        yield
    except urllib.error.HTTPError as error:
        error.close()
        if error.code in (301, 302, 303, 307, 308):
            raise PermanentFailure('the server redirects in circles or elsewhere than to http and https '
                                   f'({error.code})') from None
        text = f'the server answers {error.code} {error.reason}'
        if error.code in (408, 416, 425, 429) or error.code >= 500:
            asked = error.headers.get('Retry-After', '')
            raise TransientFailure(text, int(asked) if re.fullmatch('[0-9]{1,6}', asked) else 0) from None
        raise PermanentFailure(text) from None
    except (OSError, http.client.HTTPException, ValueError) as error:      # ValueError: an invalid length or redirect
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        if isinstance(reason, TimeoutError):
            raise TransientFailure(f'nothing came for {timeout:g} s') from None
        final = isinstance(reason, ssl.SSLCertVerificationError) or getattr(reason, 'errno', 0) == socket.EAI_NONAME
        text = f'the connection failed ({getattr(reason, "strerror", None) or reason or type(reason).__name__})'
        raise (PermanentFailure if final else TransientFailure)(text) from None
