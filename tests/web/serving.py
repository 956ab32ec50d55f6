"""A real server in a process of its own, over a folder of its own, and ways to talk to it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import httpx

from loopwright.memory import Memory, open_memory
from loopwright.settings import sqlite_url

ROOT = Path(__file__).parents[2]
SLOW_MACHINE_S = 60.0
"""How long a test waits for what takes a moment on an idle machine."""
MAX_FILE_MB = 2
ON = '{"name": "set_heater", "arguments": {"on": true}}'
T = TypeVar("T")


def until(look: Callable[[], T | None], *, within_s: float = SLOW_MACHINE_S) -> T:
    """What `look` returns, as soon as it is true."""
    end = time.monotonic() + within_s
    while not (found := look()):
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.05)
    return found


class Server:
    """`loopwright serve` over a data folder; it can be ended and started again at the same port."""

    def __init__(self, folder: Path, loops: tuple[str, ...], port: int = 0) -> None:
        self.folder, self._loops = folder, loops
        folder.mkdir(exist_ok=True)
        (folder / "loopwright.toml").touch()
        self.card = folder / "heats.yaml"
        self.card.write_text("kind: scripted\nreplies:\n" + f"  - '{ON}'\n" * 200)
        self.environment = {n: v for n, v in os.environ.items() if not n.startswith("LOOPWRIGHT_")} | {
            "LOOPWRIGHT_CONFIG": str(folder / "loopwright.toml"),
            "LOOPWRIGHT_DATA_DIR": str(folder),
            "LOOPWRIGHT_CACHE_DIR": os.environ.get("LOOPWRIGHT_CACHE_DIR", str(folder / "cache")),
            "LOOPWRIGHT_CONSOLE__MAX_FILE_MB": str(MAX_FILE_MB),
            "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), *sys.path])),
        }
        self.url, self.token = "", ""
        self._process: subprocess.Popen[str] | None = None
        self.start(port)

    def start(self, port: int) -> None:
        """Start it, and wait until it answers."""
        loops = [word for each in self._loops for word in ("--loop", each)]
        code = "import sys; from loopwright.cli import main; sys.exit(main())"
        self._process = subprocess.Popen(
            [sys.executable, "-c", code, "serve", "--json", "--port", str(port), *loops],
            cwd=ROOT, env=self.environment, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self._process.stdout is not None
        address = httpx.URL(json.loads(self._process.stdout.readline())["url"])
        self.token = address.params["token"]
        self.url = f"http://{address.host}:{address.port}"
        self.port = address.port or 80
        until(self.answers)

    def answers(self) -> bool:
        """Whether it listens."""
        try:
            return httpx.get(self.url).status_code == 401
        except httpx.TransportError:
            return False

    @property
    def pid(self) -> int:
        """The server's process."""
        assert self._process is not None
        return self._process.pid

    def end(self, how: signal.Signals = signal.SIGINT) -> None:
        """End it, as Ctrl-C does or otherwise."""
        assert self._process is not None
        self._process.send_signal(how)
        self._process.wait(SLOW_MACHINE_S)

    def restart(self, how: signal.Signals = signal.SIGINT) -> None:
        """End it, and start it again at the same port."""
        self.end(how)
        self.start(self.port)

    def client(self, token: str | None = None) -> httpx.Client:
        """A client that has a token."""
        token = self.token if token is None else token
        headers = {"authorization": f"Bearer {token}"} if token else {}
        return httpx.Client(base_url=f"{self.url}/api", headers=headers, timeout=SLOW_MACHINE_S)

    def memory(self) -> Memory:
        """The server's memory, opened beside it."""
        return open_memory(sqlite_url(self.folder / "memory.sqlite"))


class Api:
    """What tests ask of the API again and again."""

    def __init__(self, server: Server) -> None:
        self.server, self.http = server, server.client()

    def start(self, loop: str = "thermostat", **config: Any) -> str:
        """Begin a session."""
        body = {"loop": loop, "config": {"approval": "human", **config}, "models": {"navigator": str(self.server.card)}}
        begun = self.http.post("/sessions", json=body)
        assert begun.status_code == 201, begun.text
        return str(begun.json()["session"])

    def get(self, session: str) -> dict[str, Any]:
        """A session as it stands."""
        found: dict[str, Any] = self.http.get(f"/sessions/{session}").raise_for_status().json()
        return found

    def post(self, session: str, what: str, **body: Any) -> httpx.Response:
        """A command to a session."""
        return self.http.post(f"/sessions/{session}/{what}", json=body)

    def rests(self, session: str, status: str) -> dict[str, Any]:
        """The session, once it has this status."""
        return until(lambda: found if (found := self.get(session))["status"] == status else None)

    def asks(self, session: str, question: str) -> dict[str, Any]:
        """The session, once it asks this question."""

        def look() -> dict[str, Any] | None:
            found = self.get(session)
            return found if question in [each["id"] for each in found["questions"]] else None

        return until(look)

    def frames(self, session: str, after: int, n: int) -> Iterator[dict[str, Any]]:
        """The next `n` frames of the session's stream."""
        headers = {"last-event-id": str(after)}
        with self.http.stream("GET", f"/sessions/{session}/stream", headers=headers) as answer:
            frame: dict[str, Any] = {}
            for line in answer.iter_lines():
                if not line and frame:
                    yield frame
                    frame, n = {}, n - 1
                    if n == 0:
                        return
                elif ": " in line:
                    name, _, value = line.partition(": ")
                    frame[name] = json.loads(value) if name == "data" else value
