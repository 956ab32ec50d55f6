"""SIGKILL at any moment of the surgery loop: it ends as if never killed, and every act was done once (rule 3)."""

import multiprocessing
import random
import time
from pathlib import Path
from typing import Any

import pytest
from tests.agents.lives import live
from tests.scenario import payloads

from loopwright.graphs.sessions import replay_session, resume_session, start_session
from loopwright.graphs.surgery.run import SurgeryRun
from loopwright.memory import Memory, open_memory

KILLS = 10
NO = "no, it is bleeding, coagulate first"


def told(memory: Memory, session_id: str) -> list[tuple[str | None, dict[str, Any]]]:
    """The loop's events, without those of the process: key and payload, message ids aside."""
    events = [(e.key, e.payload) for e in memory.events.read(session_id) if e.key is not None]
    return [(k.rpartition("/")[0] if "heard" in k or "corrected" in k else k, _anonymous(p)) for k, p in events]


def _anonymous(payload: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in payload.items() if name != "message_id"}


@pytest.mark.timeout(300)
def test_kills_lose_nothing_and_double_nothing(tmp_path: Path) -> None:
    url, devices = f"sqlite:///{tmp_path / 'memory.sqlite'}", tmp_path / "devices"
    server: Any = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(["tests.agents.lives", "loopwright.graphs.surgery.run"])
    run = SurgeryRun(video="simulated:2000038", clips=8, perform="asked")
    rng = random.Random(20261121)

    def begin(session_id: str) -> Any:
        begun = server.Event()
        child = server.Process(target=live, args=(url, devices, session_id, begun))
        child.start()
        assert begun.wait(60)
        return child

    with open_memory(url) as memory:

        def prepared() -> str:
            session = start_session(memory, "surgery", run, devices)
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
            assert memory.events.verify(session_id).ok
            assert told(memory, session_id) == told(memory, unkilled)
            entries = memory.ledger.of(session_id)
            assert all(e.outcome is not None and e.outcome.status == "done" for e in entries)
            assert [e.act.tool for e in entries] == ["record_plan", "next_clip"] * 7
            observed = payloads(memory.events.read(session_id), "observed")
            assert observed[1]["clip"]["action"] == "Coagulation"
            assert resume_session(memory, session_id, devices).world.snapshot() == observed[-1]["snapshot"]
            assert replay_session(memory, session_id).difference is None
