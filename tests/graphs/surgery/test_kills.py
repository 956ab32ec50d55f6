"""SIGKILL at any moment of the surgery loop: it ends as if never killed, and every act was done once (rule 3)."""

import multiprocessing
import random
import time
from pathlib import Path
from typing import Any

import pytest
from tests.graphs.lives import live
from tests.scenario import payloads

from loopwright.graphs.surgery import LOOP
from loopwright.memory import Memory, open_memory
from loopwright.tools.surgery.world import SurgicalVideoWorld

KILLS = 10
NO = "no, it is bleeding, coagulate first"
OF_ITS_OWN = {"message_id", "taken", "ordered_by", "received_at", "recorded_at", "session_id"}
"""What differs between two sessions that do the same: names and times."""


def told(memory: Memory, session_id: str) -> list[tuple[str, dict[str, Any]]]:
    """The loop's events, without those of the process: key and payload, without what differs between sessions."""
    events = [(e.key, e.payload) for e in memory.events.read(session_id) if e.key is not None]
    return [(key, _anonymous(payload)) for key, payload in events]


def _anonymous(value: Any) -> Any:
    if isinstance(value, list):
        return [_anonymous(each) for each in value]
    if isinstance(value, dict):
        return {name: _anonymous(each) for name, each in value.items() if name not in OF_ITS_OWN}
    return value


@pytest.mark.timeout(300)
def test_kills_lose_nothing_and_double_nothing(tmp_path: Path) -> None:
    url, devices = f"sqlite:///{tmp_path / 'memory.sqlite'}", tmp_path / "devices"
    server: Any = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(["tests.graphs.lives"])
    video = "simulated:2000038"
    rng = random.Random(20261121)

    def begin(session_id: str) -> Any:
        begun = server.Event()
        child = server.Process(target=live, args=(url, devices, session_id, begun))
        child.start()
        assert begun.wait(60)
        return child

    with open_memory(url) as memory:

        def prepared() -> str:
            session = LOOP.start(memory, devices=devices, video=video, clips=8, perform="asked")
            session.say(NO)  # heard at the first review, wherever a kill falls
            return session.id

        unkilled = prepared()
        whole = begin(unkilled)
        began = time.monotonic()
        whole.join()
        life_s = time.monotonic() - began
        kills = 0
        while kills < KILLS:
            session_id = prepared()
            while memory.sessions.get(session_id).status not in ("succeeded", "failed"):
                child = begin(session_id)
                child.join(rng.uniform(0, life_s) if kills < KILLS else None)
                kills += child.is_alive()
                child.kill()
                child.join()
                assert child.exitcode in (0, -9)
            assert memory.verify(session_id).ok
            assert told(memory, session_id) == told(memory, unkilled)
            entries = memory.ledger.of(session_id)
            assert all(e.outcome is not None and e.outcome.status == "done" for e in entries)
            assert [e.act.tool for e in entries] == ["record_plan", "next_clip"] * 7
            observed = [p["output"] for p in payloads(memory.events.read(session_id), "observed")]
            assert observed[1]["action"] == "Coagulation"
            with SurgicalVideoWorld(video, device=devices / f"{session_id}.sqlite") as world:
                assert (world.clip.index, world.performed) == (observed[-1]["clip"], {1: "Coagulation"})
            assert LOOP.replay(session_id, memory).difference is None
