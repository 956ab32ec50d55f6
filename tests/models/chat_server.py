"""A real HTTP server that speaks the streaming chat-completions protocol, and fails in whatever way it is told to."""

import json
import select
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

MODEL = "tiny-vlm"
AT_ONCE = {"retry-after-ms": "1"}
"""Tells the client to retry without its usual wait."""


@dataclass(frozen=True, kw_only=True)
class Turn:
    """How one request is answered. The default is a reply in three pieces."""

    pieces: Sequence[str] = ("Go ", "20 mm ", "left.")
    deltas: Sequence[Mapping[str, Any]] = ()
    finish_reason: str | None = "stop"
    usage: tuple[int, int] | None = (11, 4)
    status: int = 200
    error: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    raw: bytes | None = None
    silent: bool = False
    held_after: int | None = None
    cut_after: int | None = None


class ChatServer:
    """Answers with `turns`, then by `answer`, and without one with the default.

    `requests` holds what was asked; `left` is set when a client leaves.

    A turn with `held_after` waits there until `go_on` is set; a `silent` one never answers.
    """

    def __init__(
        self,
        *turns: Turn,
        answer: Callable[[dict[str, Any]], Turn] = lambda body: Turn(),
        key: str | None = None,
        models: Sequence[str] = (MODEL,),
    ) -> None:
        self.turns, self.answer = deque(turns), answer
        self.key, self.models = key, models
        self.requests: list[dict[str, Any]] = []
        self.left, self.go_on = threading.Event(), threading.Event()
        self._http = _Http(self)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}/v1"

    def __enter__(self) -> Self:
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.go_on.set()
        self._http.shutdown()
        self._http.server_close()


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, chat: ChatServer) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.chat = chat


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def chat(self) -> ChatServer:
        assert isinstance(self.server, _Http)
        return self.server.chat

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        if self.path == "/v1/models":
            self._json(200, {"object": "list", "data": [{"id": name, "object": "model"} for name in self.chat.models]})
        else:
            self._json(404, {"detail": "Not Found"})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self.path != "/v1/chat/completions":
            self._json(404, {"detail": "Not Found"})
        elif self.chat.key is not None and self.headers["authorization"] != f"Bearer {self.chat.key}":
            self._json(401, {"error": {"message": "Incorrect API key provided.", "code": "invalid_api_key"}})
        elif body["model"] not in self.chat.models:
            self._json(404, {"error": {"message": f"The model `{body['model']}` does not exist.", "code": 404}})
        else:
            self.chat.requests.append(body)
            self._answer(self.chat.turns.popleft() if self.chat.turns else self.chat.answer(body))

    def _answer(self, turn: Turn) -> None:
        if turn.silent:
            self._wait(forever=True)
        elif turn.status != 200:
            self._json(turn.status, {"error": turn.error}, turn.headers)
        elif turn.raw is not None:
            self._headers(200, {"content-type": "text/event-stream", "content-length": str(len(turn.raw))})
            self.wfile.write(turn.raw)
        else:
            self._stream(turn)

    def _stream(self, turn: Turn) -> None:
        self._headers(200, {"content-type": "text/event-stream", "transfer-encoding": "chunked"})
        try:
            for number, event in enumerate(_events(turn)):
                if number == turn.held_after and self._wait():
                    return
                if number == turn.cut_after:
                    self.close_connection = True
                    return
                self._chunk(f"data: {json.dumps(event)}\n\n".encode())
            self._chunk(b"data: [DONE]\n\n")
            self._chunk(b"")
        except OSError:
            self.chat.left.set()

    def _wait(self, forever: bool = False) -> bool:
        """Until `go_on`, or until the client leaves: then True."""
        while forever or not self.chat.go_on.is_set():
            if select.select([self.connection], [], [], 0.01)[0]:
                self.chat.left.set()
                self.close_connection = True
                return True
        return False

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        self.wfile.flush()

    def _json(self, status: int, body: Any, headers: Mapping[str, str] | None = None) -> None:
        data = json.dumps(body).encode()
        named = {"content-type": "application/json", "content-length": str(len(data)), **(headers or {})}
        self._headers(status, named)
        self.wfile.write(data)

    def _headers(self, status: int, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()


def _events(turn: Turn) -> Iterator[dict[str, Any]]:
    about = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": MODEL}
    deltas = turn.deltas or [{"role": "assistant", "content": piece} for piece in turn.pieces]
    for delta in deltas:
        yield about | {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
    if turn.error is not None:
        yield {"error": turn.error}
    if turn.finish_reason is not None:
        yield about | {"choices": [{"index": 0, "delta": {}, "finish_reason": turn.finish_reason}]}
    if turn.usage is not None:
        prompt, reply = turn.usage
        counted = {"prompt_tokens": prompt, "completion_tokens": reply, "total_tokens": prompt + reply}
        yield about | {"choices": [], "usage": counted}
