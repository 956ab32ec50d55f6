"""SIGKILL at any moment: a resumed session ends like one that was never killed, and nothing was done twice (rule 3)."""

import multiprocessing
import random
import time
from pathlib import Path
from typing import Any

import pytest
from tests.agents.lives import live
from tests.scenario import Patient

from loopwright.graphs.carm_run import CArmRun
from loopwright.graphs.sessions import replay_session, resume_session, start_session
from loopwright.memory import Memory, open_memory
from loopwright.schema import Event

KILLS = 50


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> CArmRun:
    """A walk over a phantom on disk, long enough to be killed often."""
    return Patient(tmp_path_factory.mktemp("patient")).run("Left humeral head", ("T12", "T1", "Carina"))


def loop_events(events: list[Event]) -> list[tuple[str | None, str]]:
    """The events of the loop, without those of the process (resumed), by key and reproducible hash."""
    return [(e.key, e.payload_hash) for e in events if e.key is not None]


def check_whole(memory: Memory, session_id: str, devices: Path, reference: list[tuple[str | None, str]]) -> None:
    """The chain holds, the loop's events are those of an unkilled run, every act was done once and is known."""
    assert memory.events.verify(session_id).ok
    events = memory.events.read(session_id)
    assert loop_events(events) == reference
    entries = memory.ledger.of(session_id)
    assert all(e.outcome is not None and e.outcome.status == "done" for e in entries)
    session = resume_session(memory, session_id, devices)
    observed = [e.payload for e in events if e.kind == "observed"]
    assert session.world.snapshot()["pose"] == observed[-1]["pose"]
    # The device counts exposures itself, whatever the ledger says: no act was applied twice.
    assert observed[-1]["exposures"] == len(observed)
    assert sum(e.act.tool == "move_c_arm" for e in entries) == sum(e.kind == "moved" for e in events)
    assert replay_session(memory, session_id).difference is None


@pytest.mark.timeout(600)
def test_fifty_random_kills_lose_nothing_and_double_nothing(
    run: CArmRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, devices = f"sqlite:///{tmp_path / 'memory.sqlite'}", tmp_path / "devices"
    server: Any = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(["tests.agents.lives", "loopwright.graphs.carm_run"])
    rng = random.Random(20261121)

    def begin(session_id: str) -> Any:
        begun = server.Event()
        child = server.Process(target=live, args=(url, devices, session_id, begun))
        child.start()
        assert begun.wait(60)
        return child

    with open_memory(url) as memory:
        first = start_session(memory, "carm", run, devices)
        begin(first.id).join()  # warms the fork server's caches
        reference = loop_events(memory.events.read(first.id))
        second = start_session(memory, "carm", run, devices)
        whole = begin(second.id)
        began = time.monotonic()
        whole.join()
        whole_life_s = time.monotonic() - began
        check_whole(memory, second.id, devices, reference)
        kills, sessions = 0, 0
        while kills < KILLS:
            session_id = start_session(memory, "carm", run, devices).id
            sessions += 1
            while memory.sessions.get(session_id).status not in ("succeeded", "failed"):
                child = begin(session_id)
                child.join(rng.uniform(0, whole_life_s) if kills < KILLS else None)
                kills += child.is_alive()
                child.kill()
                child.join()
                assert child.exitcode in (0, -9)
            check_whole(memory, session_id, devices, reference)
    assert kills == KILLS
    assert sessions > 1  # lives are as long as a whole run at most, so some end by themselves
