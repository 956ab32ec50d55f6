"""Recall: the line of history as a loop sees it, checked against a plain list; and that every read uses an index."""

from collections.abc import Callable
from itertools import groupby
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event

from loopwright.errors import BadInput, DeveloperError, UnknownName
from loopwright.memory import LabelRun, Memory


def _record(memory: Memory, session_id: str, branch: int, step: int, label: str, signature: str = "s") -> None:
    memory.steps.record(session_id, branch, step, label=label, signature=signature, detail={"at": [branch, step]})


def _runs(line: list[tuple[int, int, str]]) -> tuple[LabelRun, ...]:
    grouped = [list(group) for _, group in groupby(line, key=lambda moment: moment[2])]
    return tuple(LabelRun(label=g[0][2], first_step=g[0][1], last_step=g[-1][1], n=len(g)) for g in grouped)


def test_the_last_rounds_whole_and_the_earlier_as_runs(memory: Memory, session_id: str) -> None:
    for step, label in enumerate("aaabbac", start=1):
        _record(memory, session_id, 0, step, label)
    history = memory.steps.near_history(session_id, 2)
    assert [(s.step, s.label, s.detail) for s in history.steps] == [(6, "a", {"at": [0, 6]}), (7, "c", {"at": [0, 7]})]
    assert [(r.label, r.first_step, r.last_step, r.n) for r in history.earlier] == [("a", 1, 3, 3), ("b", 4, 5, 2)]
    assert history.n_omitted == 0
    assert memory.steps.near_history(session_id, 100).earlier == ()
    assert [r.n for r in memory.steps.near_history(session_id, 0).earlier] == [3, 2, 1, 1]


def test_no_history_is_empty(memory: Memory, session_id: str) -> None:
    history = memory.steps.near_history(session_id, 5)
    assert (history.steps, history.earlier, history.n_omitted) == ((), (), 0)
    assert memory.steps.near_history(session_id, 5, before_step=3) == history
    assert memory.steps.similar("carm", "s", 5) == []
    assert memory.steps.timeline(session_id) == []


def test_the_oldest_runs_are_counted_where_there_are_too_many(memory: Memory, session_id: str) -> None:
    for step in range(1, 21):
        _record(memory, session_id, 0, step, "ab"[step % 2])
    history = memory.steps.near_history(session_id, 3, max_runs=4)
    assert [s.step for s in history.steps] == [18, 19, 20]
    assert [r.last_step for r in history.earlier] == [14, 15, 16, 17]
    assert history.n_omitted == 13
    assert memory.steps.near_history(session_id, 3, max_runs=0).n_omitted == 17
    assert memory.steps.near_history(session_id, 0, max_runs=0).n_omitted == 20


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    moves=st.lists(st.sampled_from("abAB") | st.integers(0, 9), min_size=1, max_size=14),
    n=st.integers(0, 5),
    max_runs=st.integers(0, 4),
)
def test_history_is_the_line_that_led_here(
    memory: Memory, new_session: Callable[..., str], moves: list[str | int], n: int, max_runs: int
) -> None:
    """Letters record a round, numbers rewind to that step: the line is then a list cut off and written on."""
    session_id = new_session()
    line: list[tuple[int, int, str]] = []
    branch = 0
    for move in moves:
        if isinstance(move, int):
            line = line[:move]
            branch += 1
            continue
        line.append((branch, len(line) + 1, move))
        _record(memory, session_id, branch, len(line), move)
    history = memory.steps.near_history(session_id, n, before_step=len(line) + 1, max_runs=max_runs)
    near, earlier = (line[-n:], line[:-n]) if n else ([], line)
    assert [(s.branch, s.step, s.label) for s in history.steps] == near
    runs = _runs(earlier)
    assert history.earlier == (runs[-max_runs:] if max_runs else ())
    assert history.n_omitted == len(earlier) - sum(run.n for run in history.earlier)


def test_a_node_that_runs_again_replaces_its_round(memory: Memory, session_id: str) -> None:
    _record(memory, session_id, 0, 1, "a")
    _record(memory, session_id, 0, 2, "a")
    _record(memory, session_id, 0, 2, "b")
    history = memory.steps.near_history(session_id, 1)
    assert [s.label for s in history.steps] == ["b"]
    assert [(r.label, r.n) for r in history.earlier] == [("a", 1)]
    with pytest.raises(DeveloperError, match=r"Step 1 .* step 2 is recorded already"):
        _record(memory, session_id, 0, 1, "c")
    _record(memory, session_id, 1, 1, "c")
    assert [s.label for s in memory.steps.near_history(session_id, 5).steps] == ["c"]


def test_similar_situations_newest_first_across_sessions_of_a_loop(
    memory: Memory, session_id: str, new_session: Callable[..., str]
) -> None:
    other, surgery = new_session(), new_session("surgery")
    for step in (1, 2, 3):
        _record(memory, session_id, 0, step, "a", signature="rib|left")
        _record(memory, other, 0, step, "a", signature="rib|left" if step == 2 else "rib|right")
        _record(memory, surgery, 0, step, "a", signature="rib|left")
    found = memory.steps.similar("carm", "rib|left", 3)
    assert [(s.session_id, s.step) for s in found] == [(session_id, 3), (other, 2), (session_id, 2)]
    assert memory.steps.similar("carm", "none", 3) == []


def test_the_timeline_names_every_event_and_its_steps_label(memory: Memory, session_id: str) -> None:
    _record(memory, session_id, 0, 1, "left")
    for kind, step in (("started", 0), ("seen", 1), ("moved", 1)):
        memory.events.append(session_id, kind, {"big": "x" * 1000}, branch=0, step=step)
    rows = memory.steps.timeline(session_id)
    assert [(r.seq, r.step, r.kind, r.label) for r in rows] == [
        (1, 0, "started", None),
        (2, 1, "seen", "left"),
        (3, 1, "moved", "left"),
    ]
    assert [r.seq for r in memory.steps.timeline(session_id, after=1, limit=1)] == [2]


def test_wrong_arguments_are_named(memory: Memory, session_id: str) -> None:
    with pytest.raises(BadInput, match="`n` = -1"):
        memory.steps.near_history(session_id, -1)
    with pytest.raises(UnknownName):
        _record(memory, "nobody", 0, 1, "a")


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_every_recall_follows_an_index(memory: Memory, session_id: str) -> None:
    """SQLite's own plan of each named read, as it is sent: no table is scanned, and only what is short is sorted.

    PostgreSQL scans small tables whatever their indexes are; `benchmarks.recall` measures it at 1e6 rows.
    """
    for step in range(1, 9):
        _record(memory, session_id, 0, step, "ab"[step % 2])
    sent: list[tuple[str, Any]] = []
    engine = memory._store.engine
    event.listen(engine, "before_cursor_execute", lambda _c, _cur, sql, values, *_: sent.append((sql, values)))
    reads: list[Callable[[], object]] = [
        lambda: memory.steps.near_history(session_id, 3),
        lambda: memory.steps.near_history(session_id, 3, before_step=6),
        lambda: memory.steps.similar("carm", "s", 5),
        lambda: memory.steps.feedback_since(session_id, 3),
        lambda: memory.steps.timeline(session_id),
        lambda: memory.inbox.unread(session_id),
        lambda: memory.inbox.active_stop(session_id),
        lambda: memory.ledger.unsettled(session_id),
        lambda: memory.events.find(session_id, "key"),
    ]
    for read in reads:
        read()
    queries = [(sql, values) for sql, values in sent if not sql.startswith("BEGIN")]
    assert len(queries) >= len(reads)
    with engine.connect() as connection:
        for sql, values in queries:
            plan = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", values)]
            scans = [line for line in plan if line.startswith("SCAN") and line != "SCAN walk"]
            assert not scans, (sql, plan)
            assert "messages" in sql or "walk" in sql or not any("TEMP B-TREE" in line for line in plan), (sql, plan)
    partial = " ".join(str(plan) for plan in (_plan(memory, "active_stop", queries), _plan(memory, "acts", queries)))
    assert "ix_messages_active_stop" in partial and "ix_acts_unsettled" in partial


def _plan(memory: Memory, name: str, queries: list[tuple[str, Any]]) -> list[str]:
    wanted = {"active_stop": "cleared_at IS NULL", "acts": "status IN"}[name]
    sql, values = next(query for query in queries if wanted in query[0])
    with memory._store.engine.connect() as connection:
        return [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", values)]
