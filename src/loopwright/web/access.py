"""Who may use the console: whoever has a token that this machine signed and that has not expired.

A token is `EXPIRES.SIGNATURE`, signed with a key that lies in the data folder for this user's eyes alone, so that a
restarted server knows the tokens that it gave out. It comes as `?token=` once and is a cookie from then on, or as a
bearer token. It ends what it let in: a web socket, and a stream of events, last as long as their token. The one thing
that a token may still do once it has expired is to STOP a session.

The same layer bounds what a request may carry, and refuses what a page of another origin has a browser send: cookies
are shared by all ports of a machine.
"""

import asyncio
import hashlib
import hmac
import json
import re
import secrets
import time
from pathlib import Path
from typing import Annotated
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

from markupsafe import Markup
from pydantic import AfterValidator
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from loopwright.tools.files import partial_path
from loopwright.web.refusal import Refusal

MAX_BODY_BYTES = 1_000_000
"""Of a request. A file is longer, and is bounded by what keeps it (`loopwright.web.files`)."""
EXPIRES = "loopwright_token_expires"
"""Where a scope says when its token expires, s since the epoch."""
HEADERS = {
    "content-security-policy": "frame-ancestors 'none'",
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
}
"""Of every answer: no page of another origin shows the console in a frame, or is told where it was."""
_FILE = re.compile(r"/api/loops/[^/]+/files/[^/]+")
_STOP = re.compile(r"/api/sessions/[^/]+/stop")
_OF_A_SESSION = re.compile(r"(?:/api)?/sessions/")
SessionId = Annotated[str, AfterValidator(unquote)]
"""A session's id in a path: see `_path`."""
_AGAIN = "Open the address that `loopwright serve` printed, or start it again for a new one."


def key_of(folder: Path) -> bytes:
    """The key that signs tokens, made where there is none."""
    file = folder / "key"
    folder.mkdir(parents=True, exist_ok=True)
    if not file.exists():  # it appears whole: another server may start at this moment
        partial = partial_path(file)
        partial.touch(mode=0o600)
        partial.write_text(secrets.token_hex(32))
        partial.replace(file)
    return file.read_text().encode()


def issue_token(key: bytes, lifetime_s: float) -> str:
    """A token that holds for so long."""
    expires = str(int(time.time() + lifetime_s))
    return f"{expires}.{_signature(key, expires)}"


def cookie_name(port: int) -> str:
    """The cookie of the server at a port: consoles on one machine keep their tokens apart."""
    return f"loopwright_token_{port}"


def require_token(key: bytes, token: str, *, may_have_expired: bool = False) -> int:
    """Let a token pass; returns when it expires, s since the epoch.

    Raises:
        Refusal: 401, it is missing, not signed with this key, or has expired.
    """
    if not token:
        raise Refusal(f"No token. {_AGAIN}", 401)
    expires, _, signature = token.partition(".")
    if not hmac.compare_digest(signature.encode(), _signature(key, expires).encode()):
        raise Refusal(f"This token was not made here. {_AGAIN}", 401)
    if int(expires) < time.time() and not may_have_expired:
        raise Refusal(f"This token has expired. {_AGAIN}", 401)
    return int(expires)


def _signature(key: bytes, expires: str) -> str:
    return hmac.new(key, expires.encode(), hashlib.sha256).hexdigest()


class Gatekeeper:
    """ASGI middleware: a token for every request and every web socket, and a bound on every body."""

    def __init__(self, app: ASGIApp, *, key: bytes) -> None:
        self._app, self._key = app, key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what has a token."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        scope, send = {**scope, "path": _path(scope)}, _with_headers(send)
        query = {name: values[0] for name, values in parse_qs(scope["query_string"].decode("latin-1")).items()}
        try:
            expires, receive = await self._admitted(scope, receive, query.get("token", ""))
        except Refusal as refusal:
            await _refuse(scope, send, refusal)
            return
        if "token" in query and scope["type"] == "http" and scope["method"] == "GET":
            await _welcome(scope, send, query)
            return
        if scope["type"] == "websocket":
            receive = _until(expires, receive)
        await self._app({**scope, EXPIRES: expires}, receive, send)

    async def _admitted(self, scope: Scope, receive: Receive, named: str) -> tuple[int, Receive]:
        """When the token expires, and how the body is read.

        Raises:
            Refusal: no token that holds, a page of another origin asks, or the body is too long.
        """
        headers = Headers(scope=scope)
        is_read = scope["type"] == "http" and scope["method"] in ("GET", "HEAD", "OPTIONS")
        is_stop = scope["type"] == "http" and not is_read and _STOP.fullmatch(scope["path"]) is not None
        expires = require_token(self._key, named or _carried(scope, headers), may_have_expired=is_stop)
        if not is_read:
            _require_own_page(headers)
        if scope["type"] == "http" and not is_read and not _FILE.fullmatch(scope["path"]):
            receive = await _bounded(receive)
        return expires, receive


def _carried(scope: Scope, headers: Headers) -> str:
    scheme, _, bearer = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return bearer.strip()
    return cookie_parser(headers.get("cookie", "")).get(cookie_name(scope["server"][1]), "")


def _require_own_page(headers: Headers) -> None:
    """Whoever sends something is a page of the console's own, or no browser."""
    origin = headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != headers.get("host"):
        raise Refusal(
            f"A page of {origin!r} has sent this, not one of the console at {headers.get('host')!r}. A proxy in front "
            "has to pass the `Host` of a request on.",
            403,
        )


def _path(scope: Scope) -> str:
    """The path, in which `%2F` is part of a session's id and no separator: ids are unquoted where they are read."""
    raw = scope["raw_path"].decode("latin-1")
    if "%" not in raw or not _OF_A_SESSION.match(raw):
        return str(scope["path"])
    return unquote(re.sub("%(?=25|2f)", "%25", raw, flags=re.IGNORECASE))


def _until(expires: int, receive: Receive) -> Receive:
    """A `receive` of a web socket whose client has gone away once the token has expired."""

    async def receive_until() -> Message:
        try:
            async with asyncio.timeout(max(0.0, expires - time.time())):
                return await receive()
        except TimeoutError:
            return {"type": "websocket.disconnect", "code": 1008}

    return receive_until


def _with_headers(send: Send) -> Send:
    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).update(HEADERS)
        await send(message)

    return send_with_headers


async def _bounded(receive: Receive) -> Receive:
    """A `receive` with the whole body, which was read here and is not too long."""
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > MAX_BODY_BYTES:
            raise Refusal(f"A request carries at most {MAX_BODY_BYTES} bytes.", 413)
    read: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_again() -> Message:
        return read.pop() if read else await receive()

    return receive_again


async def _refuse(scope: Scope, send: Send, refusal: Refusal) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008, "reason": str(refusal)})
        return
    wants_page = not scope["path"].startswith("/api/")
    told = _PAGE.format(refusal) if wants_page else json.dumps({"error": str(refusal)})
    kind = b"text/html; charset=utf-8" if wants_page else b"application/json"
    await send({"type": "http.response.start", "status": refusal.status, "headers": [(b"content-type", kind)]})
    await send({"type": "http.response.body", "body": told.encode()})


_PAGE = Markup(
    '<!doctype html><html lang=en><meta name=viewport content="width=device-width"><title>Loopwright</title>'
    '<body style="font: 1rem/1.5 system-ui, sans-serif; max-width: 40rem; margin: 3rem auto; padding: 0 1rem">'
    "<h1>Loopwright</h1><p>{}</p>"
)


async def _welcome(scope: Scope, send: Send, query: dict[str, str]) -> None:
    """Keep the token as a cookie, and lead to the same address without it."""
    rest = urlencode({name: value for name, value in query.items() if name != "token"})
    where = b"/" + scope["raw_path"].lstrip(b"/\\") + (f"?{rest}".encode() if rest else b"")
    cookie = f"{cookie_name(scope['server'][1])}={query['token']}; Path=/; HttpOnly; SameSite=Strict"
    headers = [(b"location", where), (b"set-cookie", cookie.encode())]
    await send({"type": "http.response.start", "status": 303, "headers": headers})
    await send({"type": "http.response.body", "body": b""})
