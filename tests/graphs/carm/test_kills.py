"""SIGKILL at any moment: a resumed session ends like one that was never killed, and nothing was done twice (rule 3)."""

import multiprocessing
import random
import time
from pathlib import Path
from typing import Any

import pytest
from tests.graphs.lives import live
from tests.scenario import Patient, Run, exposures

from loopwright.graphs.carm import LOOP
from loopwright.memory import Memory, open_memory
from loopwright.tools.carm.geometry import Pose
from loopwright.tools.carm.guard import Motion

LOADED_IN_A_RUN = ("loopwright.models.networks.carm", "loopwright.tools.carm.render.joseph")
"""Heavy modules; a life that had to import them would be all import on a busy machine."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A walk over a phantom on disk, long enough to be killed often."""
    return Patient(tmp_path_factory.mktemp("patient")).run("Left humeral head", ("T12", "T1", "Carina"))


def told(memory: Memory, session_id: str) -> list[tuple[str | None, dict[str, Any]]]:
    """The loop's events, without those of the process (resumed): key and payload."""
    return [(e.key, e.payload) for e in memory.events.read(session_id) if e.key is not None]


def check_whole(memory: Memory, session_id: str, devices: Path, unkilled: str) -> None:
    """All is as in the `unkilled` session, and the device did every act of the ledger once and nothing else.

    Each pose must be the one before plus the one motion between them, and the device's own count of exposures the
    number of pictures: an act that was lost or doubled breaks one of the two.
    """
    assert memory.verify(session_id).ok
    assert told(memory, session_id) == told(memory, unkilled)
    events = memory.events.read(session_id)
    observed = exposures(events)
    entries = memory.ledger.of(session_id)
    assert all(e.outcome is not None and e.outcome.status == "done" for e in entries)
    motions = [Motion.model_validate(e.act.arguments) for e in entries if e.act.tool == "move_c_arm"]
    assert [e.step for e in events if e.kind == "observed"] == list(range(len(motions) + 1))
    assert [p["exposures"] for p in observed] == list(range(1, len(observed) + 1))
    poses = [Pose.model_validate(p["pose"]) for p in observed]
    assert poses[1:] == [motion.applied_to(pose) for motion, pose in zip(motions, poses, strict=False)]
    assert [e.kind for e in events if e.key is not None][-1] == "finished"
    assert LOOP.replay(session_id, memory).difference is None


@pytest.mark.timeout(600)
@pytest.mark.parametrize("n_kills", [12, pytest.param(50, marks=pytest.mark.slow)])
def test_random_kills_lose_nothing_and_double_nothing(n_kills: int, run: Run, tmp_path: Path) -> None:
    url, devices = f"sqlite:///{tmp_path / 'memory.sqlite'}", tmp_path / "devices"
    server: Any = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(["tests.graphs.lives", "loopwright.graphs.carm", *LOADED_IN_A_RUN])
    rng = random.Random(20261121)

    def begin(session_id: str) -> Any:
        begun = server.Event()
        child = server.Process(target=live, args=(url, devices, session_id, begun))
        child.start()
        assert begun.wait(60)
        return child

    with open_memory(url) as memory:
        first = LOOP.start(memory, devices=devices, **run)
        begin(first.id).join()  # warms the fork server's caches
        second = LOOP.start(memory, devices=devices, **run)
        whole = begin(second.id)
        began = time.monotonic()
        whole.join()
        whole_life_s = time.monotonic() - began
        check_whole(memory, second.id, devices, first.id)
        kills, sessions = 0, 0
        while kills < n_kills:
            session_id = LOOP.start(memory, devices=devices, **run).id
            sessions += 1
            while memory.sessions.get(session_id).status not in ("succeeded", "failed"):
                child = begin(session_id)
                child.join(rng.uniform(0, whole_life_s) if kills < n_kills else None)
                kills += child.is_alive()
                child.kill()
                child.join()
                assert child.exitcode in (0, -9)
            check_whole(memory, session_id, devices, first.id)
    assert kills == n_kills
    assert sessions > 1  # lives are as long as a whole run at most, so some end by themselves
