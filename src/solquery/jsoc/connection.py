"""The wire beneath `jsoc`: where a server is, time-outs, and what urllib, http and drms raise as four failures."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import socket
from collections.abc import Iterator
from types import ModuleType
from typing import TYPE_CHECKING
from urllib.error import HTTPError, URLError

from ..errors import SolqueryError
from .retry import NotNow

if TYPE_CHECKING:
    from drms import ServerConfig

__all__ = ["Gone", "JsocRefusal", "TooLarge", "agent", "says_too_large", "server_config", "timeout", "translated"]

_LARGE = re.compile(r"too (large|many|big|long)|exceed|limit", re.IGNORECASE)


class TooLarge(Exception):
    """The server will not answer a question of this size."""


class Gone(Exception):
    """An export, or a file of it, is not there any more."""


class JsocRefusal(SolqueryError):
    """What the server will not do, in its words, and what to do about it."""


def says_too_large(words: str) -> bool:
    """Whether a server's words mean that less should be asked for."""
    return _LARGE.search(words) is not None


def server_config(drms: ModuleType, server: str | None) -> ServerConfig | str:
    """Configuration for `drms` of a server at an address; its own of JSOC for None."""
    if server is None:
        return "jsoc"
    if not re.match(r"https?://[^/\s]+", server):
        raise SolqueryError(f"the server {server!r} is no address; write http://host:port/")
    base = server.rstrip("/") + "/"
    return drms.ServerConfig(
        name=base,
        cgi_baseurl=base + "cgi-bin/ajax/",
        cgi_show_series="show_series",
        cgi_jsoc_info="jsoc_info",
        cgi_jsoc_fetch="jsoc_fetch",
        cgi_check_address="checkAddress.sh",
        http_download_baseurl=base,
    )


def agent() -> str:
    """What downloads call themselves."""
    from .. import __version__

    return f"solquery/{__version__}"


@contextlib.contextmanager
def timeout(seconds: float) -> Iterator[None]:
    """drms takes its time-out from the socket module."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


@contextlib.contextmanager
def translated(drms: ModuleType) -> Iterator[None]:
    """What urllib, http and drms raise, as the few failures of this module."""
    try:
        yield
    except HTTPError as error:
        # an HTTPError is an open answer
        error.close()
        words = f"HTTP {error.code} {http.client.responses.get(error.code, '')}".strip()
        after = error.headers.get("Retry-After", "") if error.headers else ""
        if error.code in (413, 414):
            raise TooLarge(words) from None
        if error.code in (404, 410):
            raise Gone(words) from None
        if error.code >= 500 or error.code in (408, 425, 429):
            raise NotNow(words, after_s=float(after) if after.isdigit() else 0.0) from None
        raise JsocRefusal(f"{error.url} answers {words}; check the address and try again") from None
    except json.JSONDecodeError:
        raise NotNow("the answer is no JSON") from None
    except UnicodeDecodeError:
        raise NotNow("the answer is no text") from None
    except (TimeoutError, URLError, ConnectionError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        words = "timed out" if isinstance(reason, TimeoutError) else str(reason) or type(reason).__name__
        raise NotNow(" ".join(words.split()), unreachable=True) from None
    except drms.DrmsQueryError as error:
        words = " ".join(str(error).split())
        if says_too_large(words):
            raise TooLarge(words) from None
        raise JsocRefusal(f"JSOC cannot answer the query: {words}; check --start, --end and the numbers") from None
    except drms.DrmsExportError as error:
        raise Gone(" ".join(str(error).split())) from None
