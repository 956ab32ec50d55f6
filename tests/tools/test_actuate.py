"""An act happens at most once and is never forgotten: real ledger, real device file, failures at every seam."""

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loopwright.errors import IntegrityError, Paused, Stopped, UnsettledAct
from loopwright.memory import Memory, open_memory
from loopwright.schema import Act, CancelToken, Outcome, World
from loopwright.tools.actuate import Actuator
from loopwright.tools.carm.case import Case
from loopwright.tools.carm.geometry import Pose
from loopwright.tools.carm.volume import Volume
from loopwright.tools.carm.world import CArmWorld

LEFT = Act(tool="move_c_arm", arguments={"left_mm": 20.0})
UP = Act(tool="move_c_arm", arguments={"caudal_mm": -20.0})
START = Pose(x_mm=70, y_mm=70, z_mm=70)
MOVED = START.moved(left_mm=20)


@pytest.fixture
def world(tmp_path: Path) -> CArmWorld:
    air = np.full((8, 8, 8), -1000, np.int16)
    volume = Volume(hounsfield=air, affine_world=np.diag([20.0, 20, 20, 1]), name="box")
    return CArmWorld(Case(name="box", volume=volume), device=tmp_path / "device.sqlite", start=START)


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Memory]:
    with open_memory(f"sqlite:///{tmp_path / 'memory.sqlite'}") as opened:
        yield opened


@pytest.fixture
def session_id(memory: Memory) -> str:
    return memory.sessions.create("carm", {}).id


class Wrapped:
    """Something real, but for the methods replaced."""

    def __init__(self, real: object, **replaced: Callable[..., Any]) -> None:
        self._real = real
        self.__dict__.update(replaced)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


def actuator(
    world: object, memory: Memory, session_id: str, ledger: object = None, cancel: CancelToken | None = None
) -> Actuator:
    return Actuator(cast(World, world), cast(Any, ledger or memory.ledger), session_id, cancel or CancelToken())


class TestOnce:
    def test_the_whole_sequence_is_on_record(self, world: CArmWorld, memory: Memory, session_id: str) -> None:
        outcome = actuator(world, memory, session_id).act("k", LEFT, step=3, by="human")
        assert world.pose == MOVED
        entry = memory.ledger.get("k")
        assert entry is not None
        assert (entry.status, entry.approved_by, entry.step, entry.outcome) == ("settled", "human", 3, outcome)

    def test_what_a_stop_kept_back_is_asked_for_anew(self, world: CArmWorld, memory: Memory, session_id: str) -> None:
        memory.inbox.put(session_id, "STOP", is_stop=True)
        with pytest.raises(Stopped):
            actuator(world, memory, session_id).act_anew("k", LEFT, step=1, by="guard")
        memory.inbox.clear_stop(session_id)
        outcomes = [actuator(world, memory, session_id).act_anew("k", LEFT, step=1, by="guard") for _ in range(2)]
        assert outcomes[0] == outcomes[1] and outcomes[0].key == "k.1"
        assert world.pose == MOVED

    def test_a_known_key_returns_its_outcome(self, world: CArmWorld, memory: Memory, session_id: str) -> None:
        first = actuator(world, memory, session_id).act("k", LEFT, step=1, by="guard")
        untouchable = Wrapped(None)  # whatever is asked of it raises
        assert actuator(untouchable, memory, session_id).act("k", LEFT, step=1, by="guard") == first

    def test_what_the_device_refuses_is_settled_as_refused(
        self, world: CArmWorld, memory: Memory, session_id: str
    ) -> None:
        far = Act(tool="move_c_arm", arguments={"left_mm": 140.0})
        outcome = actuator(world, memory, session_id).act("k", far, step=1, by="guard")
        assert outcome.status == "refused"
        assert memory.ledger.unsettled(session_id) == []

    def test_a_key_stands_for_one_command_of_one_session(
        self, world: CArmWorld, memory: Memory, session_id: str
    ) -> None:
        actuator(world, memory, session_id).act("k", LEFT, step=1, by="guard")
        with pytest.raises(IntegrityError):
            actuator(world, memory, session_id).act("k", UP, step=1, by="guard")
        other = memory.sessions.create("carm", {}).id
        with pytest.raises(IntegrityError):
            actuator(world, memory, other).act("k", LEFT, step=1, by="guard")
        assert world.pose == MOVED


class Crash(Exception):
    """The process is gone."""


SEAMS = tuple((when, name) for name in ("intend", "authorise", "apply", "settle") for when in ("before", "after"))


def breaking(real: object, when: str, name: str) -> Wrapped:
    def crash(*args: Any, **kwargs: Any) -> Any:
        if when == "after":
            getattr(real, name)(*args, **kwargs)
        raise Crash

    return Wrapped(real, **{name: crash})


def crash_at(seam: tuple[str, str], world: CArmWorld, memory: Memory, session_id: str, key: str = "k") -> None:
    """Act, and be gone at `seam`; a seam that is not reached any more is passed."""
    when, name = seam
    broken_world = breaking(world, when, name) if name == "apply" else world
    broken_ledger = memory.ledger if name == "apply" else breaking(memory.ledger, when, name)
    with suppress(Crash):
        actuator(broken_world, memory, session_id, broken_ledger).act(key, LEFT, step=1, by="guard")


class TestResume:
    @given(crashes=st.lists(st.sampled_from(SEAMS), max_size=6))
    @settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    def test_however_often_it_crashes_there_is_one_motion(
        self, world: CArmWorld, memory: Memory, crashes: list[tuple[str, str]]
    ) -> None:
        session_id = memory.sessions.create("carm", {}).id
        world.restore({"pose": START.model_dump(), "exposed": None})
        key = f"{session_id}/1"
        for seam in crashes:
            crash_at(seam, world, memory, session_id, key)
        outcome = actuator(world, memory, session_id).act(key, LEFT, step=1, by="guard")
        assert world.pose == MOVED
        assert outcome.status == "done"
        entry = memory.ledger.get(key)
        assert entry is not None
        assert (entry.status, entry.outcome, world.outcome_of(key)) == ("settled", outcome, outcome)

    def test_settle_all_sends_nothing(self, world: CArmWorld, memory: Memory, session_id: str) -> None:
        crash_at(("before", "settle"), world, memory, session_id, key="sent")
        crash_at(("after", "authorise"), world, memory, session_id, key="unsent")
        assert [o.key for o in actuator(world, memory, session_id).settle_all()] == ["sent"]
        assert world.pose == MOVED
        assert [entry.key for entry in memory.ledger.unsettled(session_id)] == ["unsent"]
        assert actuator(world, memory, session_id).settle_all(stopped=True) == []
        unsent = memory.ledger.get("unsent")
        assert unsent is not None
        assert (unsent.status, unsent.reason) == ("refused", "STOP")


class TestStop:
    @pytest.mark.parametrize("seam", [("after", "intend"), ("after", "authorise"), ("before", "apply")])
    def test_an_unsent_act_is_refused(
        self, world: CArmWorld, memory: Memory, session_id: str, seam: tuple[str, str]
    ) -> None:
        crash_at(seam, world, memory, session_id)
        memory.inbox.put(session_id, "STOP", is_stop=True)
        resumed = actuator(world, memory, session_id)
        with pytest.raises(Stopped):
            resumed.act("k", LEFT, step=1, by="guard")
        entry = memory.ledger.get("k")
        assert entry is not None
        assert (entry.status, entry.reason) == ("refused", "STOP")
        memory.inbox.clear_stop(session_id)
        assert resumed.act("k", LEFT, step=1, by="guard") == Outcome(key="k", status="refused", reason="STOP")
        assert world.pose == START

    @pytest.mark.parametrize("seam", [("after", "apply"), ("before", "settle")])
    def test_a_sent_act_is_reported_as_sent(
        self, world: CArmWorld, memory: Memory, session_id: str, seam: tuple[str, str]
    ) -> None:
        crash_at(seam, world, memory, session_id)
        memory.inbox.put(session_id, "STOP", is_stop=True)
        assert actuator(world, memory, session_id).act("k", LEFT, step=1, by="guard").status == "done"
        assert world.pose == MOVED
        assert memory.ledger.unsettled(session_id) == []

    def test_a_stop_while_the_world_acts_keeps_the_outcome(
        self, world: CArmWorld, memory: Memory, session_id: str
    ) -> None:
        cancel = CancelToken()

        def stop_then_apply(key: str, act: Act) -> Outcome:
            memory.inbox.put(session_id, "STOP", is_stop=True)
            cancel.stop()
            return world.apply(key, act)

        moving = actuator(Wrapped(world, apply=stop_then_apply), memory, session_id, cancel=cancel)
        assert moving.act("k", LEFT, step=1, by="guard").status == "done"
        with pytest.raises(Stopped):
            moving.act("next", UP, step=2, by="guard")
        assert world.pose == MOVED

    @pytest.mark.parametrize(("halt", "error", "status"), [("stop", Stopped, "refused"), ("pause", Paused, "intended")])
    def test_the_token_keeps_an_act_back(
        self,
        world: CArmWorld,
        memory: Memory,
        session_id: str,
        halt: str,
        error: type[Exception],
        status: Literal["refused", "intended"],
    ) -> None:
        cancel = CancelToken()
        getattr(cancel, halt)()
        with pytest.raises(error):
            actuator(world, memory, session_id, cancel=cancel).act("k", LEFT, step=1, by="guard")
        entry = memory.ledger.get("k")
        assert entry is not None
        assert entry.status == status
        assert world.pose == START


class TestTimeout:
    def test_no_answer_and_no_knowledge_is_unsettled_and_asked_again_later(
        self, world: CArmWorld, memory: Memory, session_id: str
    ) -> None:
        gate = threading.Event()

        def apply_late(key: str, act: Act) -> Outcome:
            gate.wait(30)
            return world.apply(key, act)

        slow = actuator(Wrapped(world, apply=apply_late), memory, session_id)
        with pytest.raises(UnsettledAct, match="sent and the world gave no answer"):
            slow.act("k", LEFT, step=1, by="guard", timeout_s=0.1)
        assert [entry.status for entry in memory.ledger.of(session_id)] == ["authorised"]
        gate.set()
        assert actuator(world, memory, session_id).act("k", LEFT, step=1, by="guard").status == "done"
        assert world.pose == MOVED

    def test_a_lost_answer_is_fetched_from_the_world(self, world: CArmWorld, memory: Memory, session_id: str) -> None:
        def apply_and_hang(key: str, act: Act) -> Outcome:
            outcome = world.apply(key, act)
            threading.Event().wait(2)
            return outcome

        slow = actuator(Wrapped(world, apply=apply_and_hang), memory, session_id)
        assert slow.act("k", LEFT, step=1, by="guard", timeout_s=0.5).status == "done"
        assert [entry.status for entry in memory.ledger.of(session_id)] == ["settled"]
