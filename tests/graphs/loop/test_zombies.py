"""A process that is suspended in the middle of a session, overtaken and woken: it changes nothing (rule 4)."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text
from tests.forking import ROOT
from tests.graphs.loop.zombie import LOOP, SEAMS, heating
from tests.loops.bench import Bench

from loopwright.graphs.loop.delivery import deliver
from loopwright.graphs.loop.session import Session
from loopwright.memory.values import STALE_S


@contextmanager
def suspended(bench: Bench, session_id: str, when: str) -> Iterator["subprocess.Popen[str]"]:
    """A process that runs the session and has suspended itself; its lease has run out meanwhile."""
    order = [bench.url, str(bench.devices), session_id, when]
    program = [sys.executable, "-m", "tests.graphs.loop.zombie", *order]
    with subprocess.Popen(program, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        _, status = os.waitpid(process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        old = datetime.now(UTC).replace(tzinfo=None) - timedelta(seconds=STALE_S + 1)
        engine = create_engine(bench.url)
        with engine.begin() as connection:
            connection.execute(text(f"UPDATE leases SET heartbeat_at = '{old.isoformat(' ', 'microseconds')}'"))
        engine.dispose()
        try:
            yield process
        finally:
            process.kill()


def woken(process: "subprocess.Popen[str]") -> Any:
    """What it says when it goes on."""
    process.send_signal(signal.SIGCONT)
    return json.loads(process.communicate(timeout=60)[0])


def record(bench: Bench, session: Session) -> list[Any]:
    """All that a session has left behind."""
    memory = bench.memory
    return [
        memory.events.read(session.id), memory.ledger.of(session.id), memory.sessions.get(session.id), session.state,
        bench.worlds(session.id), memory.inbox.since(session.id, 0),
    ]  # fmt: skip


@pytest.mark.parametrize("then", ["rewind", "STOP"])
@pytest.mark.parametrize("when", ["model", *SEAMS])
def test_it_neither_moves_nor_writes(bench: Bench, when: str, then: str) -> None:
    session = bench.start(LOOP, heating())
    with suspended(bench, session.id, when) as process:
        if then == "STOP":
            deliver(bench.memory, session.id, "STOP")
            assert session.status == "stopped"
            left = record(bench, session)
            assert woken(process) == "SessionBusy"
            assert record(bench, session) == left
            session.rewind(0)
        else:
            session.rewind(0)
            assert session.run() == "succeeded"
            left = record(bench, session)
            assert woken(process) == "SessionBusy"
    assert record(bench, session) == left or then == "STOP"
    if then == "STOP":
        assert session.run() == "succeeded"
    assert bench.worlds(session.id)[""]["room_c"] == 18.0
    bench.whole(session)
