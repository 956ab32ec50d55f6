"""Who may use the console: whoever has a token that this machine signed and that has not expired.

A token is `EXPIRES.SIGNATURE`, signed with a key that lies in the data folder for this user's eyes alone, so that a
restarted server knows the tokens that it gave out. It comes as `?token=` once and is a cookie from then on, or as a
bearer token. The same layer bounds what a request may carry.
"""

import hashlib
import hmac
import json
import secrets
import time
from http.cookies import SimpleCookie
from pathlib import Path
from urllib.parse import parse_qs, urlencode

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from loopwright.web.refusal import Refusal

COOKIE = "loopwright_token"
MAX_BODY_BYTES = 1_000_000
"""Of a request. The console takes no files: a loop's inputs are named by where they lie on the server's machine."""
_AGAIN = "Open the address that `loopwright serve` printed, or start it again for a new one."


def key_of(folder: Path) -> bytes:
    """The key that signs tokens, made where there is none."""
    file = folder / "key"
    folder.mkdir(parents=True, exist_ok=True)
    if not file.exists():
        file.touch(mode=0o600)
        file.write_text(secrets.token_hex(32))
    return file.read_text().encode()


def issue_token(key: bytes, lifetime_s: float) -> str:
    """A token that holds for so long."""
    expires = str(int(time.time() + lifetime_s))
    return f"{expires}.{_signature(key, expires)}"


def require_token(key: bytes, token: str) -> None:
    """Let a token pass.

    Raises:
        Refusal: 401, it is missing, not signed with this key, or has expired.
    """
    if not token:
        raise Refusal(f"No token. {_AGAIN}", 401)
    expires, _, signature = token.partition(".")
    if not hmac.compare_digest(signature.encode(), _signature(key, expires).encode()):
        raise Refusal(f"This token was not made here. {_AGAIN}", 401)
    if int(expires) < time.time():
        raise Refusal(f"This token has expired. {_AGAIN}", 401)


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
        headers = Headers(scope=scope)
        query = {name: values[0] for name, values in parse_qs(scope["query_string"].decode("latin-1")).items()}
        try:
            require_token(self._key, query.get("token") or _carried(headers))
            if scope["type"] == "http" and scope["method"] not in ("GET", "HEAD", "OPTIONS"):
                receive = await _bounded(receive)
        except Refusal as refusal:
            await _refuse(scope, send, refusal)
            return
        if "token" in query and scope["type"] == "http" and scope["method"] == "GET":
            await _welcome(scope, send, query)
            return
        await self._app(scope, receive, send)


def _carried(headers: Headers) -> str:
    scheme, _, bearer = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return bearer.strip()
    found = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    return "" if found is None else found.value


async def _bounded(receive: Receive) -> Receive:
    """A `receive` with the whole body, which was read here and is not too long."""
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > MAX_BODY_BYTES:
            raise Refusal(f"A request carries at most {MAX_BODY_BYTES} bytes. The console takes no files.", 413)
    read: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_again() -> Message:
        return read.pop() if read else await receive()

    return receive_again


async def _refuse(scope: Scope, send: Send, refusal: Refusal) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008, "reason": str(refusal)})
        return
    wants_page = not scope["path"].startswith("/api/")
    body = f"<!doctype html><html lang=en><title>Loopwright</title><h1>Loopwright</h1><p>{refusal}</p>"
    told = body if wants_page else json.dumps({"error": str(refusal)})
    kind = b"text/html; charset=utf-8" if wants_page else b"application/json"
    await send({"type": "http.response.start", "status": refusal.status, "headers": [(b"content-type", kind)]})
    await send({"type": "http.response.body", "body": told.encode()})


async def _welcome(scope: Scope, send: Send, query: dict[str, str]) -> None:
    """Keep the token as a cookie, and lead to the same address without it."""
    rest = urlencode({name: value for name, value in query.items() if name != "token"})
    where = scope["path"] + (f"?{rest}" if rest else "")
    cookie = f"{COOKIE}={query['token']}; Path=/; HttpOnly; SameSite=Strict"
    headers = [(b"location", where.encode()), (b"set-cookie", cookie.encode()), (b"referrer-policy", b"no-referrer")]
    await send({"type": "http.response.start", "status": 303, "headers": headers})
    await send({"type": "http.response.body", "body": b""})
