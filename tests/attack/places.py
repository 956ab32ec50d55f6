"""Where sessions are attacked: a memory of either database with its devices, of which each attempt gets a copy."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, text
from sqlalchemy.engine import Engine
from tests.forking import Processes
from tests.loops.cases import LoopCase
from tests.loops.process import How, Order

from loopwright.graphs.loop.session import Session
from loopwright.graphs.verify import verify_session
from loopwright.memory import Memory, open_memory
from loopwright.tools.device import Device

_NAMES = count()


@dataclass(frozen=True, kw_only=True)
class Place:
    """A memory and the folder of its devices; `server` is the URL of a PostgreSQL server, None for SQLite."""

    folder: Path
    server: str | None
    name: str

    @property
    def url(self) -> str:
        """Of the memory."""
        return f"sqlite:///{self.folder / 'memory.sqlite'}" if self.server is None else _of(self.server, self.name)

    @property
    def devices(self) -> Path:
        """Where its devices are."""
        return self.folder / "devices"

    @contextmanager
    def opened(self) -> Iterator[Memory]:
        """The memory."""
        with open_memory(self.url) as memory:
            yield memory

    @contextmanager
    def copied(self) -> Iterator["Place"]:
        """A copy for one attempt; nobody may have this one open."""
        n = next(_NAMES)
        copy = Place(folder=self.folder.with_name(f"attempt-{n}"), server=self.server, name=f"attack_{n}")
        shutil.copytree(self.folder, copy.folder)
        copy._create(template=self.name)
        try:
            yield copy
        finally:
            copy.remove()

    def remove(self) -> None:
        """Delete it."""
        if self.server is not None:
            _admin(self.server, f"DROP DATABASE IF EXISTS {self.name} WITH (FORCE)")
        shutil.rmtree(self.folder)

    def expire_leases(self) -> list[str]:
        """As if their holders had given no sign of life for a long time; the ids of the sessions that were held."""
        engine = create_engine(self.url.replace("postgresql://", "postgresql+psycopg://"))
        with engine.begin() as connection:
            connection.execute(text("UPDATE leases SET heartbeat_at = '2001-01-01 00:00:00.000000'"))
            held = list(connection.scalars(text("SELECT session_id FROM leases")))
        engine.dispose()
        return held

    def _create(self, template: str = "template1") -> None:
        if self.server is not None:
            _admin(self.server, f"CREATE DATABASE {self.name} TEMPLATE {template}")


def new_place(folder: Path, server: str | None) -> Place:
    """An empty place."""
    n = next(_NAMES)
    place = Place(folder=folder / f"place-{n}", server=server, name=f"attack_{n}")
    place.folder.mkdir()
    place._create()
    return place


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A session as it stands before an attack; `worlds` is where its devices stand once all is done."""

    place: Place
    case: LoopCase
    session_id: str
    worlds: dict[str, Any]

    def obey(
        self, place: Place, processes: Processes, *do: str, at: int = 0, how: How = "kill", session: str = ""
    ) -> dict[str, Any] | None:
        """Have a process do this with the session in a copy; harm is done at write number `at`."""
        order = Order(
            case=self.case.loop.name, url=place.url, devices=str(place.devices), session=session or self.session_id,
            answer="approve", do=list(do), kill_after=at, how=how,
        )  # fmt: skip
        return processes.obey(order)


def faults(prepared: Prepared, place: Place, *, replayed: bool) -> list[str]:
    """What is wrong with the sessions of a place once all that was begun is done."""
    found = []
    case = prepared.case
    with place.opened() as memory:
        for row in memory.sessions.list():
            if row.parent is not None and not memory.events.read(row.id):
                continue  # a fork that was not begun
            verified = verify_session(memory, row.id, case.loop, devices=place.devices)
            found += [str(change) for change in verified.changes]
            if row.status != "succeeded":
                found.append(f"{row.id} is {row.status}")
            found += [f"{entry.key} is {entry.status}" for entry in memory.ledger.unsettled(row.id)]
            if (now := worlds(place, row.id)) != prepared.worlds:
                found.append(f"the devices of {row.id} are at {now}, expected {prepared.worlds}")
            if replayed and (difference := case.loop.replay(row.id, memory).difference):
                found.append(f"the replay of {row.id} differs: {difference}")
    return found


def finish(prepared: Prepared, place: Place, processes: Processes) -> list[str]:
    """Have other processes hold every session of a place, and run it to its end; the ids of those that they got."""
    with place.opened() as memory:
        ids = [row.id for row in memory.sessions.list()]
    said = {each: prepared.obey(place, processes, "hold", "run", how="suspend", session=each) for each in ids}
    return [each for each, answer in said.items() if (answer or {}).get("error") not in ("MemoryUnavailable",)]


def fingerprint(place: Place, ids: list[str]) -> dict[str, Any]:
    """All that a process which was overtaken must not change."""
    with place.opened() as memory:
        heads = {row.id: row.seal_hash for row in memory.sessions.list() if row.id in ids}
    return {"heads": heads, "devices": {each: worlds(place, each) for each in ids}}


def begun(place: Place, case: LoopCase, **config: Any) -> str:
    """A new session of a case in a place."""
    with place.opened() as memory:
        session: Session = case.loop.start(
            memory, models=case.models(), devices=place.devices, **{**case.config, **config}
        )
        return session.id


def worlds(place: Place, session_id: str) -> dict[str, Any]:
    """The state of each device of a session."""
    files = sorted(place.devices.glob(f"{session_id}*.sqlite"))
    return {file.stem.removeprefix(session_id): Device(file, {}).state() for file in files}


def _of(server: str, name: str) -> str:
    return create_engine(server).url.set(database=name).render_as_string(hide_password=False)


def _admin(server: str, statement: str) -> None:
    engine: Engine = create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(statement))
    engine.dispose()
