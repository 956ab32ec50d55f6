"""What is kept of a session of the surgery loop, and what is refused before one begins."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.graphs.surgery.conftest import Operate
from tests.scenario import saying

from loopwright.agents.sessions.export import export_session, verify_export
from loopwright.errors import BadInput, UnknownName
from loopwright.memory import Memory


def test_checkpoints_and_events_hold_no_pixels(operate: Operate, memory: Memory, tmp_path: Path) -> None:
    session = operate()
    session.run()
    assert json.loads(json.dumps(session.state)) == session.state
    assert len(memory.blobs.of(session.id)) == 5
    with closing(sqlite3.connect(tmp_path / "memory.sqlite")) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        held = {table: repr(connection.execute(f'SELECT * FROM "{table}"').fetchall()) for table in tables}
    assert [table for table, rows in held.items() if "\\x89PNG" in rows] == ["blobs"]


def test_a_session_is_exported(operate: Operate, memory: Memory, tmp_path: Path) -> None:
    session = operate()
    saying(session, {("observed", 1): "No, it is bleeding, coagulate first!"})
    folder = export_session(memory, session.id, tmp_path / "export")
    assert verify_export(folder).ok
    exported = json.loads((folder / "session.json").read_text())["events"]
    assert sum(e["kind"] == "corrected" for e in exported) == 1


@pytest.mark.parametrize(
    ("options", "error", "told"),
    [
        ({"video": "simulated:x"}, BadInput, "seed"),
        ({"video": "nowhere"}, BadInput, "no video"),
        ({"goal": "make tea"}, UnknownName, "goal"),
        ({"procedure": "appendectomy"}, UnknownName, "procedure"),
        ({"statistics": "missing.json"}, BadInput, "statistics"),
        ({"near_as": "pictures"}, BadInput, "`near_as`.*--planner model"),
        ({"memory_mode": "near", "planner": "bayes"}, BadInput, "`memory_mode`.*--planner model"),
        ({"distant_steps": 3}, BadInput, "`distant_steps`.*--planner model"),
        ({"model": "other"}, BadInput, "`model`.*--planner model"),
        ({"captioning_model": "small"}, BadInput, "`captioning_model`.*--captioner model"),
        ({"planner": "model", "model": "nobody"}, UnknownName, "nobody"),
        ({"planner": "bayes", "statistics": "s.json"}, BadInput, "`statistics`.*--planner ngram"),
        (
            {"planner": "model", "near_as": "pictures", "captioner": "model"},
            BadInput,
            "`captioner`.*--near-as captions",
        ),
    ],
)
def test_what_will_not_do_is_said_before_the_run(
    operate: Operate, memory: Memory, options: dict[str, Any], error: type[Exception], told: str
) -> None:
    with pytest.raises(error, match=told):
        operate(**options)
    assert memory.sessions.list() == []
