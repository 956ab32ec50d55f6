"""Sessions that run, are killed, stopped, spoken to and rewound in any order: whatever happened, the books agree."""

import random
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from tests.forking import Processes
from tests.loops.bench import Bench, Template
from tests.loops.cases import CASES

from loopwright.errors import BadInput
from loopwright.graphs.loop.session import Session

ORDERS = ("run", "run", "run", "say target 17", "say STOP", "say approve", "say q1 approve", "say what?", "rewind 0")
ANSWERS = ("approve", "approve", "reject", "target 16", "what?", "")
MAX_RUNS = 12


def can(order: str, session: Session) -> bool:
    """Whether a session can be ordered to do this as it stands."""
    has_ended = session.status in ("succeeded", "failed", "not_found")
    if not order.startswith("rewind"):
        return not has_ended
    try:
        session.observed_at(0)
    except BadInput:
        return False
    return True


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("seed", range(30))
def test_the_books_agree(seed: int, tmp_path: Path, processes: Processes) -> None:
    chance = random.Random(seed)
    case = CASES[chance.choice(("thermostat", "kiln", "nested"))]
    approval = chance.choice(("guard", "human"))
    template = Template(case, tmp_path, processes, approval=approval)
    folder = template.copy()
    for _ in range(chance.randint(2, 7)):
        order, kill_after = chance.choice(ORDERS), chance.choice((0, 0, chance.randint(1, 60)))
        bench = Bench(folder)
        possible = can(order, bench.resume(case, template.session_id))
        bench.close()
        if possible:
            template.obey(folder, order, kill_after=kill_after, answer=chance.choice(ANSWERS))
    for _ in range(MAX_RUNS):
        template.obey(folder, "run")
    bench = Bench(folder)
    session = bench.resume(case, template.session_id)
    assert session.status in ("succeeded", "failed", "not_found")
    bench.whole(session)
    acts = bench.memory.ledger.of(session.id)
    assert applied(bench) == {act.key for act in acts if act.status == "settled"}
    if approval == "human":
        assert {act.approved_by for act in acts if act.act.tool == "set_heater" and act.outcome} <= {"human"}
    bench.close()


def applied(bench: Bench) -> set[str]:
    """The keys that the devices have applied."""
    keys: set[str] = set()
    for file in bench.devices.glob("*.sqlite"):
        with closing(sqlite3.connect(file)) as connection:
            keys |= {key for (key,) in connection.execute("SELECT key FROM applied")}
    return keys
