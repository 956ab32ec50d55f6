"""Recall: what a loop reads of its past. Every read follows an index or a link: as quick at 1e6 steps as at 10.

The rows are a projection of the event log made for reading; the log is the truth.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Executable, Integer, Row, and_, bindparam, literal, select

from loopwright.errors import BadInput, DeveloperError
from loopwright.memory.inbox import Inbox
from loopwright.memory.rows import LabelRun, NearHistory, StepRow, TimelineRow
from loopwright.memory.sessions import lock_held
from loopwright.memory.store import Store, or_replace
from loopwright.memory.tables import Base, EventTable, StepTable
from loopwright.memory.values import plain_json
from loopwright.schema import Message

MAX_RUNS = 256
"""Runs of earlier labels that `near_history` gives back; a session rarely has so many."""

_TABLE = Base.metadata.tables[StepTable.__tablename__]
_COLUMNS = tuple(_TABLE.c[name] for name in StepRow.model_fields)


class Steps:
    """The rounds of one memory, and its named reads."""

    def __init__(self, store: Store, inbox: Inbox) -> None:
        self._store = store
        self._inbox = inbox
        self._put = or_replace(store.insert(_TABLE), "session_id", "step", "branch").returning(_TABLE.c.id)

    def record(
        self, session_id: str, branch: int, step: int, *, label: str, signature: str, detail: dict[str, Any]
    ) -> StepRow:
        """Record a round; a node that is run again replaces the row of its (branch, step).

        It is on the disk with the next event, see `Store.write` on `late`: a power cut before that takes both back.

        Args:
            session_id: whose round.
            branch: how often the session was rewound before.
            step: number of the round, growing along a branch.
            label: what happened, in a word that may repeat ("left", "cut"): earlier rounds are recalled by it.
            signature: what kind of situation it was: `similar` finds rounds with an equal one.
            detail: JSON for the next prompts.

        Raises:
            DeveloperError: a later round of the same branch is recorded already (rewind instead), or `detail` is not
                JSON.
            SessionBusy: this process does not hold the session.
            UnknownName: there is no such session.
        """
        values: dict[str, Any] = {
            "label": label,
            "signature": signature,
            "detail": plain_json(f"The detail of step {step}", detail),
        }
        with self._store.write(late=True) as connection:
            session = lock_held(self._store, connection, session_id)
            _refuse_if_passed(connection, session_id, branch, step)
            values |= _links(_before(connection, session_id, step, branch), step, label)
            values |= {"loop": session.loop, "recorded_at": datetime.now(UTC)}
            here = {"session_id": session_id, "branch": branch, "step": step}
            row_id = connection.execute(self._put, here | values).scalar_one()
            session.wrote(StepTable, [branch, step], values | {"id": row_id})
        return StepRow(**{name: value for name, value in (here | values).items() if name in StepRow.model_fields})

    def near_history(
        self, session_id: str, n: int, *, before_step: int | None = None, max_runs: int = MAX_RUNS
    ) -> NearHistory:
        """The last `n` rounds whole, and the labels of all before them as runs; rounds rewound away are not in it.

        A label that repeats costs one run, so a long session stays short. Where there are more than `max_runs` runs
        the oldest are only counted (`n_omitted`): this bounds the time and the prompt. After a rewind and before the
        new branch has a round, pass `before_step`: history then ends with the round before that step.

        Raises:
            BadInput: `n` or `max_runs` is negative.
        """
        if n < 0 or max_runs < 0:
            raise BadInput(f"`n` = {n!r} and `max_runs` = {max_runs!r} must not be negative.")
        with self._store.read() as connection:
            tip = _newest(connection, session_id, before_step)
            if tip is None:
                return NearHistory(steps=(), earlier=(), n_omitted=0)
            near = _walk(connection, _NEAR, tip.id, n)
            runs = _walk(connection, _RUNS, near[-1].next_id if near else tip.id, max_runs)
        return NearHistory(
            steps=tuple(_step_row(row) for row in reversed(near)),
            earlier=tuple(
                LabelRun(label=r.label, first_step=r.run_first_step, last_step=r.step, n=r.run_length)
                for r in reversed(runs)
            ),
            n_omitted=tip.depth - len(near) - sum(r.run_length for r in runs),
        )

    def similar(self, loop: str, signature: str, k: int) -> list[StepRow]:
        """The last `k` rounds, of any session of `loop`, whose situation had the same signature; newest first."""
        query = select(*_COLUMNS).where(StepTable.loop == loop, StepTable.signature == signature)
        with self._store.read() as connection:
            return [_step_row(r) for r in connection.execute(query.order_by(StepTable.id.desc()).limit(k))]

    def feedback_since(self, session_id: str, step: int) -> list[Message]:
        """What humans said that was read at `step` or later, or waits to be read; oldest first."""
        return self._inbox.since(session_id, step)

    def timeline(self, session_id: str, *, after: int = 0, limit: int = 10_000) -> list[TimelineRow]:
        """A session's events in order, without payloads, `limit` of them from the one after `after`."""
        with self._store.read() as connection:
            rows = connection.execute(_timeline_query(session_id, after, limit))
            return [TimelineRow(**row._mapping) for row in rows]


def _timeline_query(session_id: str, after: int, limit: int) -> Executable:
    event = EventTable
    same_moment = and_(
        StepTable.session_id == event.session_id, StepTable.step == event.step, StepTable.branch == event.branch
    )
    columns: tuple[Any, ...] = (event.seq, event.branch, event.step, event.kind, StepTable.label, event.created_at)
    query = select(*columns).select_from(event).outerjoin(StepTable, same_moment)
    query = query.where(event.session_id == session_id, event.seq > after)
    return query.order_by(event.seq).limit(limit)


def _newest(connection: Connection, session_id: str, before_step: int | None) -> Row[Any] | None:
    """The round that history ends with."""
    if before_step is not None:
        return _before(connection, session_id, before_step, None)
    newest = select(*_TABLE.c).where(StepTable.session_id == session_id).order_by(StepTable.id.desc()).limit(1)
    return connection.execute(newest).one_or_none()


def _before(connection: Connection, session_id: str, step: int, branch: int | None) -> Row[Any] | None:
    """The round that comes before `step`: of the nearest earlier step, the newest branch (not above `branch`)."""
    place = {"of": session_id, "step": step, "branch": branch}
    return connection.execute(_BEFORE if branch is None else _BEFORE_ON_BRANCH, place).one_or_none()


def _links(before: Row[Any] | None, step: int, label: str) -> dict[str, Any]:
    """A round's links to the past, see `StepTable`."""
    if before is None:
        return {"prev_id": None, "depth": 1, "run_first_step": step, "run_length": 1, "run_prev_id": None}
    links: dict[str, Any] = {"prev_id": before.id, "depth": before.depth + 1}
    if before.label == label:
        run = {"run_first_step": before.run_first_step, "run_length": before.run_length + 1}
        return links | run | {"run_prev_id": before.run_prev_id}
    return links | {"run_first_step": step, "run_length": 1, "run_prev_id": before.id}


def _refuse_if_passed(connection: Connection, session_id: str, branch: int, step: int) -> None:
    passed = connection.scalars(_PASSED, {"of": session_id, "step": step, "branch": branch}).one_or_none()
    if passed is not None:
        raise DeveloperError(
            f"Step {step} of session `{session_id}` cannot be recorded on branch {branch}: step {passed} is recorded "
            "already. Record rounds in order; to take one back, rewind to a new branch."
        )


def _walk_query(link: Any, columns: tuple[Any, ...]) -> Executable:
    """`columns` of the rows from `start` back along the column `link`, newest first, at most `limit`."""
    first = select(link.label("next_id"), literal(1).label("position"), *columns).where(
        _TABLE.c.id == bindparam("start")
    )
    walk = first.cte("walk", recursive=True)
    onward = select(link, walk.c.position + 1, *columns).join(walk, _TABLE.c.id == walk.c.next_id)
    walk = walk.union_all(onward.where(walk.c.position < bindparam("limit", type_=Integer)))
    return select(walk).order_by(walk.c.position)


_NEAR = _walk_query(_TABLE.c.prev_id, _COLUMNS)
_RUNS = _walk_query(
    _TABLE.c.run_prev_id,
    tuple(_TABLE.c[name] for name in ("label", "step", "run_first_step", "run_length")),
)
_OF_SESSION = _TABLE.c.session_id == bindparam("of")
_BEFORE = (
    select(*_TABLE.c)
    .where(_OF_SESSION, _TABLE.c.step < bindparam("step"))
    .order_by(_TABLE.c.step.desc(), _TABLE.c.branch.desc())
    .limit(1)
)
_BEFORE_ON_BRANCH = _BEFORE.where(_TABLE.c.branch <= bindparam("branch"))
_PASSED = (
    select(_TABLE.c.step)
    .where(_OF_SESSION, _TABLE.c.step > bindparam("step"), _TABLE.c.branch >= bindparam("branch"))
    .limit(1)
)
"""Built once: building them takes longer than running them."""


def _walk(connection: Connection, query: Executable, start: int | None, limit: int) -> Sequence[Row[Any]]:
    if start is None or limit == 0:
        return []
    return connection.execute(query, {"start": start, "limit": limit}).all()


def _step_row(row: Row[Any]) -> StepRow:
    return StepRow(**{name: row._mapping[name] for name in StepRow.model_fields})
