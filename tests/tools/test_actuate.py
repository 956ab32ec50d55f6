"""An act happens at most once and is never forgotten: real ledger, real device file, failures at every seam."""

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loopwright.errors import ApprovalExpired, IntegrityError, Paused, SessionBusy, Stopped, UnsettledAct
from loopwright.memory import LedgerEntry, Memory, open_memory
from loopwright.schema import Act, CancelToken, Outcome, World, restoring
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
def session_id(memory: Memory) -> Iterator[str]:
    with memory.sessions.acquire(memory.sessions.create("carm", {}).id) as lease:
        yield lease.session_id


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
        with memory.sessions.acquire(other), pytest.raises(IntegrityError):
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
        world.restore({"pose": START.model_dump(), "exposed": None}, f"{session_id}/0", 1)
        key = f"{session_id}/1"
        with memory.sessions.acquire(session_id):
            for seam in crashes:
                crash_at(seam, world, memory, session_id, key)
            outcome = actuator(world, memory, session_id).act(key, LEFT, step=1, by="guard")
        assert world.pose == MOVED
        assert outcome.status == "done"
        entry = memory.ledger.get(key)
        assert entry is not None
        assert (entry.status, entry.outcome, world.outcome_of(key)) == ("settled", outcome, outcome)

    def test_settling_sends_nothing(self, world: CArmWorld, memory: Memory, session_id: str) -> None:
        crash_at(("before", "settle"), world, memory, session_id, key="sent")
        crash_at(("after", "authorise"), world, memory, session_id, key="unsent")
        assert [o.key for o in actuator(world, memory, session_id).settle()] == ["sent"]
        assert world.pose == MOVED
        assert [entry.key for entry in memory.ledger.unsettled(session_id)] == ["unsent"]
        assert actuator(world, memory, session_id).settle(refuse="STOP") == []
        unsent = memory.ledger.get("unsent")
        assert unsent is not None
        assert (unsent.status, unsent.reason) == ("refused", "STOP")


class TestTakeover:
    """Another process held the session, was suspended, and wakes after this one took over."""

    @pytest.fixture
    def session_id(self, memory: Memory) -> str:
        return memory.sessions.create("carm", {}).id

    def test_what_it_authorised_and_did_not_send_never_happens(
        self, world: CArmWorld, memory: Memory, session_id: str
    ) -> None:
        """Suspended between the authorisation and the device; meanwhile the act is refused, and stays so."""
        resumed: list[Outcome] = []

        def sleep(key: str, act: Act, token: int) -> Outcome:
            with open_memory(memory.url) as other:
                with other._store.write() as connection:
                    connection.exec_driver_sql("DELETE FROM leases")
                with other.sessions.acquire(session_id) as lease:
                    assert (token, lease.token) == (1, 2)
                    resumed.extend(actuator(world, other, session_id).take_over(lease.token, refuse="taken over"))
            return world.apply(key, act, token)

        with memory.sessions.acquire(session_id):
            with pytest.raises(SessionBusy, match="token 2, this comes with token 1"):
                actuator(Wrapped(world, apply=sleep), memory, session_id).act("k", LEFT, step=1, by="human")
            assert (world.pose, resumed, world.last_key()) == (START, [], None)
            entry = memory.ledger.get("k")
            assert entry is not None
            assert (entry.status, entry.reason) == ("refused", "taken over")

    def test_what_it_sent_is_found_and_not_sent_again(self, world: CArmWorld, memory: Memory, session_id: str) -> None:
        with memory.sessions.acquire(session_id):
            crash_at(("before", "settle"), world, memory, session_id)
            crash_at(("after", "intend"), world, memory, session_id, key="unsent")
        with memory.sessions.acquire(session_id) as lease:
            taking_over = actuator(world, memory, session_id)
            assert [outcome.key for outcome in taking_over.take_over(lease.token)] == ["k"]
            assert [entry.key for entry in memory.ledger.unsettled(session_id)] == ["unsent"]
            assert taking_over.act("k", LEFT, step=1, by="guard").status == "done"
            assert world.pose == MOVED
            entry = memory.ledger.get("k")
            assert entry is not None and entry.token == 1, "under which it was sent"

    def test_a_device_in_newer_hands_is_not_taken_over(self, world: CArmWorld, memory: Memory, session_id: str) -> None:
        world.hold(7)
        with memory.sessions.acquire(session_id) as lease:
            with pytest.raises(SessionBusy, match="token 7, this comes with token 1"):
                actuator(world, memory, session_id).take_over(lease.token)
            with pytest.raises(SessionBusy):
                actuator(world, memory, session_id).act("k", LEFT, step=1, by="guard")
        assert world.pose == START


class TestRestore:
    def test_it_is_on_record_and_happens_once(self, world: CArmWorld, memory: Memory, session_id: str) -> None:
        moving, start = actuator(world, memory, session_id), world.snapshot()
        moving.act("k", LEFT, step=1, by="guard")
        outcome = moving.restore("back", start, step=1, by="human")
        assert (outcome.status, world.pose, world.last_key()) == ("done", START, "back")
        entry = memory.ledger.get("back")
        assert entry is not None
        assert (entry.status, entry.act, entry.approved_by) == ("settled", restoring(start), "human")
        moving.act("again", LEFT, step=2, by="guard")
        assert moving.restore("back", start, step=1, by="human") == outcome
        assert world.pose == MOVED

    def test_killed_on_the_way_it_is_settled_by_asking_the_world(
        self, world: CArmWorld, memory: Memory, session_id: str
    ) -> None:
        moving, start = actuator(world, memory, session_id), world.snapshot()
        moving.act("k", LEFT, step=1, by="guard")
        dying = actuator(world, memory, session_id, breaking(memory.ledger, "before", "settle"))
        with pytest.raises(Crash):
            dying.restore("back", start, step=1, by="human")
        assert [outcome.key for outcome in moving.settle()] == ["back"]
        assert world.pose == START

    def test_a_stop_keeps_it_back(self, world: CArmWorld, memory: Memory, session_id: str) -> None:
        moving, start = actuator(world, memory, session_id), world.snapshot()
        moving.act("k", LEFT, step=1, by="guard")
        memory.inbox.put(session_id, "STOP", is_stop=True)
        with pytest.raises(Stopped):
            moving.restore("back", start, step=1, by="human")
        assert world.pose == MOVED


class TestRefusal:
    def test_what_a_guard_refuses_is_in_the_ledger_and_stays_refused(
        self, world: CArmWorld, memory: Memory, session_id: str
    ) -> None:
        moving = actuator(world, memory, session_id)
        outcome = moving.refuse("k", LEFT, step=4, reason="step: too far")
        assert outcome == Outcome(key="k", status="refused", reason="step: too far")
        entry = memory.ledger.get("k")
        assert entry is not None
        assert (entry.status, entry.reason, entry.step, entry.act) == ("refused", "step: too far", 4, LEFT)
        assert moving.refuse("k", LEFT, step=4, reason="again") == outcome
        assert moving.act("k", LEFT, step=4, by="human") == outcome
        assert world.last_key() is None


class TestExpiry:
    def test_an_act_approved_long_ago_is_not_sent_until_it_is_approved_again(
        self, world: CArmWorld, memory: Memory, session_id: str
    ) -> None:
        moving, now = actuator(world, memory, session_id), datetime.now(UTC)
        with pytest.raises(ApprovalExpired):
            moving.act("k", LEFT, step=1, by="human", approved_at=now - timedelta(minutes=11))
        assert world.pose == START
        assert moving.act("k", LEFT, step=1, by="human", approved_at=now).status == "done"

    def test_a_process_that_sleeps_before_it_sends_does_not_send(
        self, world: CArmWorld, memory: Memory, session_id: str
    ) -> None:
        """Nobody took over, so its token is the newest; but what was approved is long ago when it wakes."""

        def authorise_and_sleep(key: str, *args: Any, **kwargs: Any) -> LedgerEntry:
            entry = memory.ledger.authorise(key, *args, **kwargs)
            assert entry.approved_at is not None
            return entry.model_copy(update={"approved_at": entry.approved_at - timedelta(minutes=11)})

        sleeping = Wrapped(memory.ledger, authorise=authorise_and_sleep)
        with pytest.raises(ApprovalExpired):
            actuator(world, memory, session_id, sleeping).act("k", LEFT, step=1, by="human")
        assert world.last_key() is None
        assert actuator(world, memory, session_id).act("k", LEFT, step=1, by="human").status == "done"


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

        def stop_then_apply(key: str, act: Act, token: int) -> Outcome:
            memory.inbox.put(session_id, "STOP", is_stop=True)
            cancel.stop()
            return world.apply(key, act, token)

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

        def apply_late(key: str, act: Act, token: int) -> Outcome:
            gate.wait(30)
            return world.apply(key, act, token)

        slow = actuator(Wrapped(world, apply=apply_late), memory, session_id)
        with pytest.raises(UnsettledAct, match="sent and the world gave no answer"):
            slow.act("k", LEFT, step=1, by="guard", timeout_s=0.1)
        assert [entry.status for entry in memory.ledger.of(session_id)] == ["authorised"]
        gate.set()
        assert actuator(world, memory, session_id).act("k", LEFT, step=1, by="guard").status == "done"
        assert world.pose == MOVED

    def test_a_lost_answer_is_fetched_from_the_world(self, world: CArmWorld, memory: Memory, session_id: str) -> None:
        def apply_and_hang(key: str, act: Act, token: int) -> Outcome:
            outcome = world.apply(key, act, token)
            threading.Event().wait(2)
            return outcome

        slow = actuator(Wrapped(world, apply=apply_and_hang), memory, session_id)
        assert slow.act("k", LEFT, step=1, by="guard", timeout_s=0.5).status == "done"
        assert [entry.status for entry in memory.ledger.of(session_id)] == ["settled"]
