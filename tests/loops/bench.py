"""What tests of loops work with: a memory and devices of their own, what a session wrote, and processes that die."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.forking import Processes, forking
from tests.loops.cases import LoopCase, Models
from tests.loops.process import Order

from loopwright.graphs.loop.loop import Loop
from loopwright.graphs.loop.session import Session
from loopwright.memory import open_memory
from loopwright.schema import Event
from loopwright.tools.device import Device

BY_CHANCE = ("dreamt", "now", "random")
"""Kinds of events that differ between two sessions that do the same."""
BY_RUN = ("received_at", "message_id", "message_ids", "seen", "ordered_by", "taken", "since")
"""Fields that name messages, which are numbered for all sessions of a memory, or say when they came."""


class Bench:
    """A memory and its devices in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self.url = f"sqlite:///{folder / 'memory.sqlite'}"
        self.devices = folder / "devices"
        self.memory = open_memory(self.url)

    def start(self, loop: Loop, models: Models | None = None, **config: Any) -> Session:
        """A new session."""
        return loop.start(self.memory, models=models, devices=self.devices, **config)

    def begin(self, case: LoopCase, **config: Any) -> Session:
        """A new session of a case, as its short run has it."""
        return self.start(case.loop, case.models(), **{**case.config, **config})

    def resume(self, case: LoopCase, session_id: str) -> Session:
        """A session of a case, from its record."""
        return self.resume_loop(case.loop, session_id, case.models())

    def resume_loop(self, loop: Loop, session_id: str, models: Models) -> Session:
        """A session of a loop that is no case, from its record."""
        return loop.resume(session_id, self.memory, models=models, devices=self.devices)

    def worlds(self, session_id: str) -> dict[str, Any]:
        """The state of each device of a session, by what is appended to its name."""
        files = sorted(self.devices.glob(f"{session_id}*.sqlite"))
        return {file.stem.removeprefix(session_id): Device(file, {}).state() for file in files}

    def whole(self, session: Session) -> None:
        """Assert that the record is whole, comes out again in a replay, and leaves nothing open on the ledger."""
        verified = self.memory.verify(session.id)
        assert verified.ok, verified
        if self.memory.sessions.get(session.id).has_ended:
            assert self.memory.ledger.unsettled(session.id) == []
        assert session.loop.replay(session.id, self.memory).difference is None  # type: ignore[attr-defined]

    def close(self) -> None:
        """Close the memory."""
        self.memory.close()


def written(events: Sequence[Event], *, but: Sequence[str] = BY_CHANCE) -> dict[str, Any]:
    """What a session recorded by key, without what differs between two sessions that do the same."""
    return {e.key: (e.kind, e.branch, e.step, _plain(e.payload)) for e in events if e.key and e.kind not in but}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _plain(each) for name, each in value.items() if name not in BY_RUN}
    return [_plain(each) for each in value] if isinstance(value, list) else value


def kinds(events: Sequence[Event], *wanted: str) -> list[dict[str, Any]]:
    """The payloads of these kinds, oldest first."""
    return [event.payload for event in events if event.kind in wanted]


class Template:
    """A session that was prepared and not run yet, to be copied for each attempt at killing it."""

    def __init__(self, case: LoopCase, folder: Path, processes: Processes, **config: Any) -> None:
        self._case, self._processes, self._folder, self._n = case, processes, folder, 0
        self._original = folder / "template"
        bench = Bench(self._original)
        self.session_id = bench.begin(case, **config).id
        bench.close()

    def copy(self) -> Path:
        """A folder of its own."""
        self._n += 1
        return Path(shutil.copytree(self._original, self._folder / f"attempt-{self._n}"))

    def adopt(self, folder: Path) -> None:
        """From now on copy the session as it stands there."""
        self._original = folder

    def obey(
        self, folder: Path, *do: str, kill_after: int = 0, answer: str = "approve", session: str = ""
    ) -> dict[str, Any] | None:
        """Have a process do this with the session in `folder`."""
        order = Order(
            case=self._case.loop.name, url=f"sqlite:///{folder / 'memory.sqlite'}", devices=str(folder / "devices"),
            session=session or self.session_id, answer=answer, do=list(do), kill_after=kill_after,
        )  # fmt: skip
        return self._processes.obey(order)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """A memory and devices of the test's own."""
    made = Bench(tmp_path)
    yield made
    made.close()


@pytest.fixture(scope="session")
def processes() -> Iterator[Processes]:
    """Processes that may be killed."""
    with forking("tests.loops.process") as running:
        yield running
