"""How long a STOP takes: from its delivery by another process until the session has come to rest as `stopped`.

    python benchmarks/stop.py [--n 30] [--stages node decoding ...] [--load] [--url postgresql://...]

Each trial is a session in a process of its own, stopped at a random moment. `--load` keeps twice as many processes busy
as there are cores, and another session writing into the same database. Also counts acts that were authorised after a
STOP was in: there must be none. The stage `cli` counts from the start of `loopwright feedback SESSION stop`.
"""

import argparse
import json
import os
import random
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from langchain_core.language_models import BaseChatModel
from pydantic import Field

from loopwright.graphs.loop.config import Budget
from loopwright.graphs.loop.context import Context
from loopwright.graphs.loop.declare import Role, State
from loopwright.graphs.loop.delivery import deliver
from loopwright.graphs.loop.loop import Loop
from loopwright.memory import open_memory
from loopwright.models.scripted import ScriptedChatModel
from loopwright.schema import Act, Frozen
from loopwright.tools.contract import Acting, ToolContext, tool
from loopwright.tools.simulated import SimulatedWorld

N_MESSAGES = 10_000
ready: Callable[[], None]
"""Tells the parent that the stage is reached."""


class Room(SimulatedWorld[dict[str, Any], Act]):
    """A heater that is switched on and off."""

    def initial(self) -> dict[str, Any]:
        """Cold."""
        return {"on": False}

    def act(self, state: dict[str, Any], act: Act) -> tuple[dict[str, Any], dict[str, Any]]:
        """Switch."""
        return {"on": act.arguments["on"]}, act.arguments

    def observe(self, state: dict[str, Any]) -> dict[str, Any]:
        """All of it."""
        return state


class Heater(Frozen):
    """A switch."""

    on: bool = Field(description="whether to heat")


@tool(effect="actuate", timeout_s=30)
def set_heater(args: Heater, context: ToolContext) -> Acting[Heater]:
    """Switch the heater."""
    outcome = yield Act(tool="set_heater", arguments=args.model_dump())
    return Heater.model_validate(outcome.result)


def switch(state: State, ctx: Context) -> None:
    """One act after another."""
    ready()
    ctx.act(set_heater, on=ctx.random().random() < 0.5)


def talk(state: State, ctx: Context) -> None:
    """Have a model write for as long as it likes."""
    ready()
    ctx.ask("model", "Write down every bone of the human body, and where it is.")


def ask(state: State, ctx: Context) -> None:
    """Wait for a person."""
    ready()
    ctx.ask_human("Shall I?")


def loop_of(node: Callable[[State, Context], None], **fields: Any) -> Loop:
    """An endless loop of one node."""
    return Loop(
        "stop", nodes=[node], world=Room, tools=[set_heater], budget=Budget(steps=10**9, refusals=10**9), **fields
    )


LOCAL = {"model": Role(card="small")}
LOOPS = {
    "node": loop_of(switch),
    "loading": loop_of(talk, roles=LOCAL),
    "decoding": loop_of(talk, roles=LOCAL),
    "waiting": loop_of(ask),
    "paused": loop_of(switch),
    "messages": loop_of(switch),
    "cli": loop_of(switch),
}
STAGES = {
    "node": "nodes that act, one after another",
    "loading": "a local model is loading, torch included",
    "decoding": "a local model is decoding",
    "waiting": "waiting for a person",
    "paused": "paused: nobody runs it",
    "messages": f"{N_MESSAGES:,} messages are unread",
    "cli": "by `loopwright feedback SESSION stop`, from its start",
}
DELAY_S = {"loading": 4.0, "decoding": 1.0}
"""How long after the stage is reached a STOP comes at most; else 0.2 s."""


class Trial(NamedTuple):
    """Milliseconds, and the acts that were authorised after the STOP was in."""

    ms: float
    n_late: int


def run_session(stage: str, url: str, devices: Path, write: int) -> None:
    """In a process of its own: run a session until it rests, and say when that was."""
    global ready
    told = False

    def tell() -> None:
        nonlocal told
        if not told and os.write(write, b"ready\n"):
            told = True

    ready = (lambda: None) if stage == "decoding" else tell
    models: dict[str, BaseChatModel] = {"model": ScriptedChatModel(replies=("x",))}
    with open_memory(url) as memory:
        session = LOOPS[stage].start(memory, devices=devices, models=models if stage == "none" else None)
        os.write(write, f"{session.id}\n".encode())
        if stage == "decoding":
            from loopwright.graphs.loop.models import _engine

            _engine(json.dumps(memory.sessions.get(session.id).config["models"]["model"]["card"]))
            tell()
        if stage == "paused":
            tell()
        else:
            session.run(wait=True)
        os.write(write, f"{time.time()}\n".encode())


def trial(stage: str, url: str, folder: Path, seed: int) -> Trial:
    """Run one session, stop it, and see how long that took."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        try:
            run_session(stage, url, folder / "devices", writer)
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as said, open_memory(url) as memory:
        session = said.readline().strip()
        assert said.readline() == "ready\n", f"the session of stage {stage!r} came to nothing"
        time.sleep(random.Random(seed).uniform(0.02, DELAY_S.get(stage, 0.2)))
        if stage == "messages":
            flood(url, session)
        begun = time.time()
        if stage == "paused":
            said.readline()
            deliver(memory, session, "STOP")
            ended = time.time()
        elif stage == "cli":
            code = "import sys; from loopwright.cli import main; sys.exit(main())"
            subprocess.run(
                [sys.executable, "-c", code, "feedback", session, "stop"], check=True, stdout=subprocess.DEVNULL,
                env=os.environ | {"LOOPWRIGHT_MEMORY__URL": url},
            )  # fmt: skip
            ended = float(said.readline())
        else:
            memory.inbox.put(session, "STOP", is_stop=True)
            ended = float(said.readline())
        os.waitpid(pid, 0)
        stop = next(m for m in memory.inbox.since(session, 0) if m.is_stop)
        assert memory.sessions.get(session).status == "stopped"
        late = [e for e in memory.ledger.of(session) if e.authorised_at and e.authorised_at > stop.received_at]
        return Trial(1000 * (ended - (begun if stage == "cli" else stop.received_at.timestamp())), len(late))


def flood(url: str, session: str) -> None:
    """Many messages at once; on SQLite behind the memory's back, as one by one takes minutes."""
    row = "INSERT INTO messages (session_id, author, text, is_stop, received_at) VALUES ({0}, 'a', 'note: x', {1}, {2})"
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"), timeout=60)) as connection, connection:
            statement = row.format("?", 0, "'2026-01-01 00:00:00.000000'")
            connection.executemany(statement, [(session,)] * N_MESSAGES)
        return
    import psycopg

    with psycopg.connect(url) as server:
        server.cursor().executemany(row.format("%s", "false", "now()"), [(session,)] * N_MESSAGES)


@contextmanager
def load(url: str, folder: Path) -> Iterator[None]:
    """Busy processes, and a session that writes."""
    pids = [fork_off(spin) for _ in range(2 * (os.cpu_count() or 1))]
    pids.append(fork_off(lambda: run_session("node", url, folder / "load", os.open(os.devnull, os.O_WRONLY))))
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def fork_off(work: Callable[[], None]) -> int:
    """Do `work` in a process of its own; its id."""
    if (pid := os.fork()) == 0:
        work()
        os._exit(0)
    return pid


def spin() -> None:
    """Keep a core busy."""
    while True:
        pass


def main() -> None:
    """Print a row a stage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=30)
    parser.add_argument("--stages", nargs="*", choices=STAGES, default=list(STAGES))
    parser.add_argument("--load", action="store_true")
    parser.add_argument("--url", help="an empty PostgreSQL database; default: a SQLite file")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        url = asked.url or f"sqlite:///{folder / 'memory.sqlite'}"
        open_memory(url).close()
        print("| a STOP while | N | median, ms | max, ms | acts authorised after it |\n|---|---|---|---|---|")
        for stage in asked.stages:
            if stage == "decoding":  # once for all trials, and not for `loading`
                import loopwright.models.local.chat  # noqa: F401
            if asked.load:
                with load(url, folder):
                    trials = [trial(stage, url, folder, seed) for seed in range(asked.n)]
            else:
                trials = [trial(stage, url, folder, seed) for seed in range(asked.n)]
            ms = [each.ms for each in trials]
            late = sum(each.n_late for each in trials)
            print(f"| {STAGES[stage]} | {len(ms)} | {statistics.median(ms):.0f} | {max(ms):.0f} | {late} |", flush=True)
        print(f"\nLoad average at the end: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores.")


if __name__ == "__main__":
    main()
