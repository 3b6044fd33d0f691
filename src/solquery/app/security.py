"""What stands between the network and the page: who may ask, how much they may send, what a browser may do with it."""

from __future__ import annotations

import hmac
import json
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, urlencode, urlsplit

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["FITS_LIMIT_BYTES", "JSON_LIMIT_BYTES", "Guard", "is_loopback"]

FITS_LIMIT_BYTES = 32 * 2**20
JSON_LIMIT_BYTES = 256 * 2**10
_COOKIE = "solquery_token"
_LOOPBACK = ("127.0.0.1", "localhost", "::1")

#: everything comes from this server; nothing is embedded elsewhere, nothing is sent anywhere
_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}


def is_loopback(host: str) -> bool:
    """Whether a name or address reaches this machine alone."""
    return host.strip("[]").lower() in _LOOPBACK


def _hostname(netloc: str) -> str:
    try:
        return urlsplit(f"//{netloc}").hostname or ""
    except ValueError:
        return ""


class Guard:
    """ASGI middleware: token, Host and Origin, size of bodies, headers.

    Parameters
    ----------
    app
        The application behind it.
    token
        None on a loopback address: then only requests that name a loopback host are answered, so that a foreign page
        cannot reach the server under a name of its own (DNS rebinding). A text: every request must carry it, as
        ``Authorization: Bearer``, as the cookie that the page sets, or once as ``?token=`` in the address.
    large
        Paths that take a FITS file as the body.
    """

    def __init__(self, app: ASGIApp, token: str | None = None, large: tuple[str, ...] = ()) -> None:
        self.app, self.token, self.large = app, token, large

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        headers = {k.decode("latin-1").lower(): v.decode("latin-1") for k, v in scope["headers"]}
        limit = FITS_LIMIT_BYTES if scope["path"] in self.large else JSON_LIMIT_BYTES
        refusal = self._refused(scope, headers) or _too_long(headers, limit)
        if refusal is not None:
            status, message = refusal
            await _answer(send, status, message)
            return
        if self.token is not None and "token" in parse_qs(scope["query_string"].decode("latin-1")):
            await self._keep_token(scope, send)
            return

        taken = 0

        async def counted() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > limit:
                # the application turns it into an answer
                raise HTTPException(413, _limit_text(limit))
            return message

        async def dressed(message: Message) -> None:
            if message["type"] == "http.response.start":
                present = {k.lower() for k, _ in message["headers"]}
                extra = [(k.encode(), v.encode()) for k, v in _HEADERS.items() if k.encode() not in present]
                if b"cache-control" not in present:
                    extra.append((b"cache-control", b"no-store"))
                message = {**message, "headers": [*message["headers"], *extra]}
            await send(message)

        await self.app(scope, counted, dressed)

    def _refused(self, scope: Scope, headers: dict[str, str]) -> tuple[int, str] | None:
        host = _hostname(headers.get("host", ""))
        if self.token is None:
            if not is_loopback(host):
                return 400, "this server answers to localhost and 127.0.0.1 only; open it under that address"
        elif not self._known(scope, headers):
            return 401, "a token is needed: open the address that `solquery app` printed, or send it as a bearer token"
        origin = headers.get("origin")
        foreign = origin is not None and (_netloc(origin) != headers.get("host", "").lower())
        if foreign or (headers.get("sec-fetch-site") == "cross-site" and scope["path"].startswith("/api/")):
            return 403, "another site may not use this server; open its own page"
        return None

    def _known(self, scope: Scope, headers: dict[str, str]) -> bool:
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [])
        kind, _, value = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer":
            given.append(value.strip())
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(_COOKIE)
        except CookieError:
            cookie = None
        if cookie is not None:
            given.append(cookie.value)
        wanted = (self.token or "").encode()
        return any(hmac.compare_digest(text.encode("utf-8", "replace"), wanted) for text in given)

    async def _keep_token(self, scope: Scope, send: Send) -> None:
        """Put the token into a cookie and take it out of the address, where it would be seen and shared."""
        query = parse_qs(scope["query_string"].decode("latin-1"))
        query.pop("token")
        rest = f"?{urlencode(query, doseq=True)}" if query else ""
        path = "/" + scope["path"].lstrip("/")
        cookie = f"{_COOKIE}={self.token}; HttpOnly; SameSite=Strict; Path=/; Max-Age=2592000"
        await _answer(send, 303, "", {"location": path + rest, "set-cookie": cookie})


def _netloc(origin: str) -> str:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


def _too_long(headers: dict[str, str], limit: int) -> tuple[int, str] | None:
    length = headers.get("content-length")
    if length is None:
        return None
    if not length.isdigit():
        return 400, "the length of the request is not a number"
    return (413, _limit_text(limit)) if int(length) > limit else None


def _limit_text(limit: int) -> str:
    shown = f"{limit // 2**20} MB" if limit >= 2**20 else f"{limit // 2**10} kB"
    return f"the request is larger than {shown}; use `solquery ingest` and `solquery search` for larger files"


async def _answer(send: Send, status: int, message: str, more: dict[str, str] | None = None) -> None:
    body = json.dumps({"error": {"kind": "refused", "message": message}}).encode() if message else b""
    kind = {"content-type": "application/json", "content-length": str(len(body)), "cache-control": "no-store"}
    headers = [(k.encode(), v.encode("latin-1")) for k, v in {**kind, **_HEADERS, **(more or {})}.items()]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
