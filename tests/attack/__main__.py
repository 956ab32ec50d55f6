"""The attack: `make attack` writes its table into docs/reliability.md. Takes minutes; a short form is a test.

python -m tests.attack [--every N] [--replies N] [--out FILE]
"""

import argparse
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.attack.parts import OPERATIONS, Result, harmed, malformed_replies, stop_latencies, tampered
from tests.databases import postgresql
from tests.forking import ROOT, forking
from tests.loops.process import How

BEGIN, END = "<!-- table: written by `make attack` -->", "<!-- end of the table -->"


def main() -> int:
    """Run every part; 1 where a promise was broken."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--every", type=int, default=1, help="of so many boundaries attack one")
    options.add_argument("--replies", type=int, default=100_000, help="malformed replies to read")
    options.add_argument("--out", type=Path, default=ROOT / "docs" / "reliability.md")
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as folder, postgresql() as server, ThreadPoolExecutor(2) as threads:
        parts = threads.map(lambda url: _told(attack(Path(folder), url, given.every)), (None, server))
        results = [result for part in parts for result in part]
    results += _told([malformed_replies(given.replies)])
    results += _told(stop_latencies())
    _write(given.out, results)
    return 1 if any(result.violations for result in results) else 0


def attack(folder: Path, server: str | None, every: int) -> Iterator[Result]:
    """All that is done to the sessions of one database; `server` is the URL of a PostgreSQL server."""
    failures: tuple[How, ...] = ("full disk", "locked") if server is None else ("cut connection",)
    with forking("tests.loops.process") as processes:
        for operation in OPERATIONS:
            yield harmed(operation, "kill", folder, server, processes, every=every)
            yield harmed(operation, "suspend", folder, server, processes, every=every)
        yield tampered(folder, server, processes, rows_each=3)
        for how in failures:
            yield harmed("run", how, folder, server, processes, every=every)


def _told(results: Iterable[Result]) -> list[Result]:
    told = []
    for result in results:
        print("\n  ".join([_row(result), *result.violations]), flush=True)  # noqa: T201 - a program
        told.append(result)
    return told


def _row(result: Result) -> str:
    return f"| {result.what} | {result.n} | {len(result.violations)} | {result.seconds:.0f} |"


def _write(file: Path, results: list[Result]) -> None:
    text = file.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    table = ["| what | N | violations | time, s |", "|---|---|---|---|", *map(_row, results)]
    file.write_text("\n".join([f"{before}{BEGIN}", "", *table, "", f"{END}{after}"]), encoding="utf-8")


if __name__ == "__main__":
    raise SystemExit(main())
