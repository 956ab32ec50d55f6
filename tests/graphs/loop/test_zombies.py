"""A process that is suspended in the middle of a session, overtaken and woken: it changes nothing (rule 4)."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import create_engine, text
from tests.forking import ROOT
from tests.graphs.loop.zombie import LOOP, SEAMS, heating
from tests.loops.bench import Bench

from loopwright.errors import OperatorError
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


def moments(quick: str) -> pytest.MarkDecorator:
    """When it suspends itself; but for one, such runs take seconds to begin."""
    every = [pytest.param(each, marks=() if each == quick else pytest.mark.slow) for each in ("model", *SEAMS)]
    return pytest.mark.parametrize("when", every)


def record(bench: Bench, session: Session) -> list[Any]:
    """All that a session has left behind."""
    memory = bench.memory
    return [
        memory.events.read(session.id), memory.ledger.of(session.id), memory.sessions.get(session.id), session.state,
        bench.worlds(session.id), memory.inbox.since(session.id, 0),
    ]  # fmt: skip


@moments("model")
def test_after_a_rewind_it_neither_moves_nor_writes(bench: Bench, when: str) -> None:
    session = bench.start(LOOP, heating())
    with suspended(bench, session.id, when) as process:
        session.rewind(0)
        assert session.run() == "succeeded"
        left = record(bench, session)
        assert woken(process) == "SessionBusy"
    assert record(bench, session) == left
    assert bench.worlds(session.id)[""]["room_c"] == 18.0
    bench.whole(session)


@moments("apply")
def test_after_a_stop_it_neither_moves_nor_writes(bench: Bench, when: str) -> None:
    """Though nobody runs the session: a STOP tells the devices, where an act is authorised and may still be sent."""
    session = bench.start(LOOP, heating())
    with suspended(bench, session.id, when) as process:
        if when == "apply":
            with pytest.raises(OperatorError, match="The STOP is in"):
                deliver(bench.memory, session.id, "STOP")
            assert session.status == "stopped"
        session.say("STOP")
        left = record(bench, session)
        assert session.status == "stopped"
        assert woken(process) == "SessionBusy"
    assert record(bench, session) == left
    assert bench.memory.ledger.unsettled(session.id) == []
    assert session.run() == "succeeded"
    assert bench.worlds(session.id)[""]["room_c"] == 18.0
    bench.whole(session)
