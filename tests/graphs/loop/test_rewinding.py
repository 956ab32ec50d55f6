"""Going back, beginning as a fork, and replaying what was rewound, forked and stopped."""

from pathlib import Path
from typing import Any

import pytest
from tests.forking import Processes
from tests.loops.bench import Bench, Template, kinds, written
from tests.loops.cases import CASES, LoopCase, heating

from loopwright.errors import BadInput
from loopwright.graphs.loop.session import Session

each_case = pytest.mark.parametrize(
    "case", [CASES["thermostat"], CASES["kiln"], CASES["nested"]], ids=lambda case: case.loop.name
)


def temperatures(bench: Bench, session: Session) -> list[float]:
    return [world["room_c"] for world in bench.worlds(session.id).values()]


def without_counts(state: dict[str, Any]) -> dict[str, Any]:
    """Without the number of photos, which no rewind undoes."""
    seen = state.get("observation", {})
    told = {name: value for name, value in seen.items() if name != "photos"}
    return {**state, "observation": told}


@each_case
def test_a_rewind_restores_state_and_worlds(case: LoopCase, bench: Bench) -> None:
    session = bench.begin(case)
    session.run()
    n = len(session.events)
    observed, ended = session.state, temperatures(bench, session)
    session.rewind(0)
    assert session.status == "paused"
    assert temperatures(bench, session) == [15.0] != ended
    assert [e.kind for e in session.events[n:]] == ["rewinding", "rewound"]
    assert session.state["status"] == "running"
    assert session.run() == "succeeded"
    assert without_counts(session.state) == without_counts(observed)
    assert temperatures(bench, session) == ended
    bench.whole(session)


@each_case
def test_rewinding_twice_and_stopping_replays(case: LoopCase, bench: Bench) -> None:
    session = bench.begin(case, approval="human")
    session.run()
    session.say("STOP")
    for _ in range(2):
        session.rewind(0)
        assert session.run() == "waiting"
        session.say("approve")
        session.run()
    assert {e.branch for e in session.events} == {0, 1, 2}
    bench.whole(session)


def test_an_act_after_a_rewind_is_another_act(bench: Bench) -> None:
    session = bench.begin(CASES["thermostat"])
    session.run()
    session.rewind(0)
    session.run()
    acts = [e for e in bench.memory.ledger.of(session.id) if e.act.tool == "set_heater"]
    assert len({e.key for e in acts}) == len(acts) == 2


def test_a_step_that_was_not_reached(bench: Bench) -> None:
    session = bench.begin(CASES["thermostat"])
    with pytest.raises(BadInput, match="was not reached"):
        session.rewind(0)
    session.run()
    with pytest.raises(BadInput, match="came to step 1"):
        session.rewind(7)
    assert session.status == "succeeded"


def test_what_was_asked_before_a_rewind_is_not_answered_after_it(bench: Bench) -> None:
    session = bench.begin(CASES["thermostat"], approval="human")
    session.run()
    session.rewind(0)
    session.say("approve")
    assert session.run() == "waiting"
    assert [e for e in bench.memory.ledger.of(session.id) if e.act.tool == "set_heater"] == []


@pytest.mark.timeout(600)
@pytest.mark.parametrize("case", [CASES["thermostat"], CASES["nested"]], ids=lambda case: case.loop.name)
@pytest.mark.parametrize("order", ["rewind 0", "fork 0"])
def test_one_that_is_killed_anywhere_is_finished(
    case: LoopCase, order: str, tmp_path: Path, processes: Processes
) -> None:
    template = Template(case, tmp_path, processes)
    ran = template.copy()
    before = template.obey(ran, "run")
    assert before is not None
    template.adopt(ran)
    undisturbed = template.copy()
    said = template.obey(undisturbed, order, "run")
    alone = template.obey(template.copy(), order)
    assert said is not None
    assert alone is not None
    expected = Bench(undisturbed)
    record = written(expected.memory.events.read(said["session"]))
    worlds = expected.worlds(said["session"])
    for n in range(1, alone["writes"] + 1):
        folder = template.copy()
        assert template.obey(folder, order, kill_after=n) is None
        bench = Bench(folder)
        sessions = bench.memory.sessions.list()
        found = next((row.id for row in sessions if row.parent), template.session_id)
        session = bench.resume(case, found)
        try:
            if session.status not in ("succeeded", "failed"):
                assert session.run() == "succeeded"
        except BadInput as error:
            assert "Fork" in str(error)
            assert session.events == []
            bench.close()
            continue
        if len(written(session.events)) == len(record):
            assert written(session.events) == record, n
            assert bench.worlds(found) == worlds, n
        else:
            assert (order, session.status) == ("rewind 0", "succeeded"), "nothing of the rewind was written yet"
            assert not kinds(session.events, "rewinding")
        bench.whole(session)
        bench.close()
    expected.close()


class TestForks:
    @each_case
    def test_a_fork_begins_where_its_parent_stood(self, case: LoopCase, bench: Bench) -> None:
        parent = bench.begin(case)
        parent.run()
        before, head = written(parent.events), bench.memory.events.head(parent.id)
        child = case.loop.fork(parent, 0)
        assert (child.status, temperatures(bench, child)) == ("paused", [15.0])
        first = child.events[0]
        assert (first.kind, first.payload["parent"], first.payload["parent_head"]) == ("forked", parent.id, head)
        assert first.payload["version"] == case.loop.version
        assert child.run() == "succeeded"
        assert written(parent.events) == before
        bench.whole(child)
        bench.whole(parent)

    def test_it_outlives_its_parent(self, bench: Bench) -> None:
        case = CASES["kiln"]
        parent = bench.start(case.loop.varied(state={**case.loop.state, "target_c": 17.0}), case.models())
        parent.run()
        child = parent.loop.fork(parent, 2)  # type: ignore[attr-defined]
        past = bench.memory.steps.near_history(parent.id, 9, before_step=2)
        assert [row.step for row in past.steps] == [0, 1]
        bench.memory.retention.prune(parent.id)
        assert [row.label for row in bench.memory.steps.near_history(child.id, 9).steps] == ["heated", "heated"]
        assert child.run() == "succeeded"
        bench.whole(child)

    def test_a_fork_can_be_forked_and_rewound(self, bench: Bench) -> None:
        case = CASES["thermostat"]
        parent = bench.begin(case)
        parent.run()
        child = case.loop.fork(parent, 1)
        grandchild = case.loop.fork(child, 1)
        assert grandchild.run() == "succeeded"
        grandchild.rewind(1)
        assert grandchild.run() == "succeeded"
        with pytest.raises(BadInput, match="was not reached"):
            grandchild.rewind(0)
        for each in (parent, grandchild):
            bench.whole(each)


def test_models_have_to_be_passed_again(bench: Bench) -> None:
    session = bench.begin(CASES["thermostat"])
    without = CASES["thermostat"].loop.resume(session.id, bench.memory, devices=bench.devices)
    with pytest.raises(BadInput, match="no record can hold"):
        without.run()
    assert bench.resume_loop(CASES["thermostat"].loop, session.id, heating()).run() == "succeeded"


def test_an_act_that_a_rewind_leaves_behind_is_closed(tmp_path: Path, processes: Processes) -> None:
    """Authorised, killed before it was sent, and rewound: nobody asks for it again, so it is not left open."""
    case = CASES["nested"]
    template = Template(case, tmp_path, processes)
    for n in range(5, 40):
        folder = template.copy()
        assert template.obey(folder, "run", kill_after=n) is None
        bench = Bench(folder)
        if [e.status for e in bench.memory.ledger.of(template.session_id)] == ["authorised"]:
            break
        bench.close()
    else:
        pytest.fail("no write left an act authorised")
    session = bench.resume(case, template.session_id)
    session.rewind(0)
    left_behind = bench.memory.ledger.of(session.id)[0]
    assert (left_behind.status, left_behind.reason) == ("refused", "REWOUND")
    assert session.run() == "succeeded"
    assert bench.memory.ledger.unsettled(session.id) == []
    bench.whole(session)
    bench.close()
