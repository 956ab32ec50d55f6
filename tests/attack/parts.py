"""The parts of the attack. Each makes a number of attempts at breaking a promise, and names the violations it found.

A session is killed, suspended and overtaken, or loses its database, at every boundary at which something is committed;
whoever goes on with it must come to the same devices, a whole record, an act for each entry of the ledger and no other.
"""

import random
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.agents.test_hostile_replies import AROUND, FORMATS, REPEATED, hostile
from tests.attack.places import Prepared, begun, faults, fingerprint, finish, new_place, worlds
from tests.forking import ROOT, Processes
from tests.loops.cases import CASES, LoopCase
from tests.loops.process import How
from tests.memory.tampering import Vandal

from loopwright.errors import BadInput
from loopwright.graphs.verify import verify_session
from loopwright.models.answers import AnswerFormat, read

REPLAY_EVERY = 5
"""Attempts of which one is replayed, too: a replay takes as long as the rest."""

MAX_PARSE_S = 1.0
MAX_STOP_MS = 500.0


@dataclass
class Result:
    """How often something was tried, and each time that it went wrong."""

    what: str
    n: int = 0
    violations: list[str] = field(default_factory=list)
    seconds: float = 0.0


OPERATIONS: dict[str, tuple[str, ...]] = {
    "run": ("run",),
    "resume": ("say approve", "run"),
    "rewind": ("rewind 0", "run"),
    "fork": ("fork 0", "run"),
    "prune": ("prune",),
}
"""What a process is doing when it is attacked."""


def prepared(operation: str, folder: Path, server: str | None, case: LoopCase, processes: Processes) -> Prepared:
    """A session of the case that stands where the operation begins."""
    place = new_place(folder, server)
    session_id = begun(place, case, approval="human")
    made = Prepared(place=place, case=case, session_id=session_id, worlds={})
    with place.copied() as copy:
        made.obey(copy, processes, "run")
        made = Prepared(place=place, case=case, session_id=session_id, worlds=worlds(copy, session_id))
    if operation != "run":
        made.obey(place, processes, "ask" if operation == "resume" else "run")
    return made


def boundaries(of: Prepared, operation: str, processes: Processes) -> int:
    """How often something is committed while the operation is done."""
    with of.place.copied() as copy:
        said = of.obey(copy, processes, *OPERATIONS[operation])
    assert said is not None
    return int(said["writes"])


def harmed(
    operation: str, how: How, folder: Path, server: str | None, processes: Processes, *, every: int = 1
) -> Result:
    """Do harm at every boundary of an operation (of `every` so many one), and have somebody else go on."""
    began, case = time.monotonic(), CASES["thermostat"]
    some = f", at one of {every} commits" if every > 1 else ""
    result = Result(f"{how}: {operation}, {'SQLite' if server is None else 'PostgreSQL'}{some}")
    of = prepared(operation, folder, server, case, processes)
    for n in range(1, boundaries(of, operation, processes) + 1, every):
        result.n += 1
        with of.place.copied() as copy:
            said = of.obey(copy, processes, *OPERATIONS[operation], at=n, how=how)
            zombie = (said or {}).get("suspended")
            wrong: list[str] = []
            held = [] if zombie is None else copy.expire_leases()
            if operation == "prune":
                wrong += _pruned(of, copy, processes)
                if zombie is not None:
                    processes.wake(zombie)
                    wrong += _pruned(of, copy, processes)
            else:
                taken = finish(of, copy, processes)
                if zombie is not None:
                    held = [each for each in held if each in taken]
                    before = fingerprint(copy, held)
                    processes.wake(zombie)
                    wrong += _changed(before, fingerprint(copy, held))
                    finish(of, copy, processes)  # what it did not hold when it was suspended, it may have gone on with
                wrong += faults(of, copy, replayed=n % REPLAY_EVERY == 0)
        result.violations += [f"at write {n}: {each}" for each in wrong]
    of.place.remove()
    result.seconds = time.monotonic() - began
    return result


def _pruned(of: Prepared, copy: Any, processes: Processes) -> list[str]:
    """Prune once more, as whoever saw the first one die would; what is left of the session."""
    of.obey(copy, processes, "prune", how="suspend")
    wrong = [f"{file.name} is left" for file in copy.devices.glob(f"{of.session_id}*")]
    vandal = Vandal(copy.url)
    wrong += [f"`{place.table}` has a row" for place in vandal.places(of.session_id) if place.table != "blobs"]
    vandal.close()
    return wrong


def _changed(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    return [] if before == after else [f"what was overtaken has changed {before} to {after}"]


def tampered(folder: Path, server: str | None, processes: Processes, *, rows_each: int) -> Result:
    """Change every column of every table of a record, one at a time."""
    began, case = time.monotonic(), CASES["thermostat"]
    result = Result(f"one column changed, {'SQLite' if server is None else 'PostgreSQL'}")
    of = prepared("rewind", folder, server, case, processes)
    vandal = Vandal(of.place.url)
    with of.place.opened() as memory:

        def is_whole() -> bool:
            return memory.verify(of.session_id).ok

        if not is_whole():
            result.violations.append("the record is not whole to begin with")
        for place in vandal.places(of.session_id, rows_each):
            result.n += 1
            if vandal.changed(place, is_whole):
                result.violations.append(f"{place} was not found")
    vandal.close()
    result.n += 1
    result.violations += _tampered_devices(of)
    of.place.remove()
    result.seconds = time.monotonic() - began
    return result


def _tampered_devices(of: Prepared) -> Iterator[str]:
    with of.place.opened() as memory:
        for file in of.place.devices.glob(f"{of.session_id}*.sqlite"):
            file.write_bytes(file.read_bytes().replace(b'"room_c":', b'"room_d":'))
        if verify_session(memory, of.session_id, of.case.loop, devices=of.place.devices).ok:
            yield "a device's state was changed and not found"


def malformed_replies(n: int, *, seed: int = 0) -> Result:
    """Have every answer format read replies made of pieces that answers are made of, some of them made to be slow."""
    began, result, chance = time.monotonic(), Result("malformed replies"), random.Random(seed)
    pieces = (
        *REPEATED,
        "]",
        "}",
        "</response>",
        "<answer>",
        "1",
        "0.5",
        "null",
        "\\",
        "é",
        "\0",
        "T12",
        "stop",
        ",",
        ":",
    )
    for _ in range(n):
        if chance.random() < 0.01:
            text = hostile(chance.choice((10**3, 10**5)), chance.choice(REPEATED), chance.choice(list(AROUND)))
        else:
            before, after = AROUND[chance.choice(list(AROUND))]
            text = before + "".join(chance.choices(pieces, k=chance.randrange(1, 40))) + after
        answer = chance.choice(FORMATS)
        result.n += 1
        at = time.perf_counter()
        wrong = _misread(text, answer)
        if (took := time.perf_counter() - at) > MAX_PARSE_S:
            wrong = f"took {took:.1f} s"
        if wrong:
            result.violations.append(f"{answer.name}: {text[:80]!r}: {wrong}")
    result.seconds = time.monotonic() - began
    return result


def stop_latencies(n: int = 30) -> Iterator[Result]:
    """What `benchmarks/stop.py` finds under load; a violation is an act after a STOP, or one that was obeyed late."""
    program = ROOT / "benchmarks" / "stop.py"
    command = [sys.executable, str(program), "--load", "--n", str(n)]
    began = time.monotonic()
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout if program.exists() else ""
    for line in said.splitlines()[2:]:
        if not line.startswith("|"):  # what it says beneath its table
            continue
        stage, trials, median, longest, acts = (cell.strip() for cell in line.strip("| ").split("|"))
        result = Result(f"STOP while {stage}: median {median} ms, longest {longest} ms", n=int(trials))
        result.violations += ["an act was authorised after it"] * int(acts)
        result.violations += [f"took {longest} ms"] if float(longest) > MAX_STOP_MS else []
        result.seconds, began = time.monotonic() - began, time.monotonic()
        yield result


def _misread(text: str, answer: AnswerFormat[Any]) -> str:
    try:
        read(text, answer)
    except BadInput as refusal:
        return "" if len(str(refusal)) < 3000 else "its refusal is too long for a prompt"
    except (ValueError, TypeError, LookupError, RecursionError, AttributeError) as error:
        return repr(error)
    return ""
