"""Exports: whole, the same again, checkable without the database, and never over somebody else's folder."""

import json
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from loopwright.agents.sessions.export import export_session, read_export, verify_export
from loopwright.errors import BadInput, IntegrityError, OperatorError, UnknownName
from loopwright.memory import Memory, open_memory
from loopwright.schema import Act, ImageRef, Outcome


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Memory]:
    with open_memory(f"sqlite:///{tmp_path / 'memory.sqlite'}") as opened:
        yield opened


def observe(memory: Memory, session_id: str, step: int, data: bytes) -> ImageRef:
    ref = memory.blobs.put(data, session_id=session_id, media_type="image/png", width_px=4, height_px=4)
    seen = {"pose": {"x_mm": 0.1 * step}, "image": ref.model_dump(mode="json")}
    memory.events.append(session_id, "observed", seen, branch=0, step=step, key=f"0/{step}/observed")
    return ref


@pytest.fixture
def session_id(memory: Memory) -> str:
    """Two pictures, one act, one message."""
    row = memory.sessions.create("carm", {"run": {"volume": "phantom:7"}, "limit_mm": 150.0})
    act = Act(tool="move_c_arm", arguments={"left_mm": 12.5})
    with memory.sessions.acquire(row.id):
        observe(memory, row.id, 0, b"first picture")
        memory.ledger.intend(row.id, "k1", act, step=0)
        memory.ledger.authorise("k1", act.sha256, "guard")
        memory.ledger.settle("k1", Outcome(key="k1", status="done"))
        memory.inbox.put(row.id, "go 20 mm left, please")
        observe(memory, row.id, 1, b"second picture")
    return row.id


def files(folder: Path) -> dict[str, tuple[bytes, int, int]]:
    """Everything in a folder: bytes, inode and time of change."""
    paths = [p for p in folder.rglob("*") if p.is_file()]
    return {str(p.relative_to(folder)): (p.read_bytes(), p.stat().st_ino, p.stat().st_mtime_ns) for p in paths}


def test_holds_everything_and_checks_itself_without_the_database(
    memory: Memory, session_id: str, tmp_path: Path
) -> None:
    folder = export_session(memory, session_id, tmp_path / "kept" / "out")
    content = read_export(folder)
    assert content.session == memory.sessions.get(session_id)
    assert list(content.events) == memory.events.read(session_id)
    assert list(content.ledger) == memory.ledger.of(session_id)
    assert list(content.feedback) == memory.inbox.since(session_id, 0)
    pictures = {p.name: p.read_bytes() for p in (folder / "images").iterdir()}
    assert sorted(pictures.values()) == [b"first picture", b"second picture"]
    assert all(
        name == f"{ref.sha256}.png" for name, ref in zip(sorted(pictures), memory.blobs.of(session_id), strict=True)
    )
    moved = shutil.move(folder, tmp_path / "elsewhere")
    memory.close()
    (tmp_path / "memory.sqlite").unlink()
    verification = verify_export(Path(moved))
    assert (verification.ok, verification.n) == (True, 2)


def test_a_second_run_touches_nothing(memory: Memory, session_id: str, tmp_path: Path) -> None:
    folder = export_session(memory, session_id, tmp_path / "out")
    before = files(folder)
    assert export_session(memory, session_id, tmp_path / "out") == folder
    assert files(folder) == before
    other = export_session(memory, session_id, tmp_path / "other")
    assert {n: f[0] for n, f in files(other).items()} == {n: f[0] for n, f in before.items()}


def test_a_session_that_went_on_is_brought_up_to_date(memory: Memory, session_id: str, tmp_path: Path) -> None:
    folder = export_session(memory, session_id, tmp_path / "out")
    before = files(folder)
    with memory.sessions.acquire(session_id):
        observe(memory, session_id, 2, b"third picture")
    export_session(memory, session_id, folder)
    after = files(folder)
    assert verify_export(folder).n == 3
    assert {n: f for n, f in after.items() if n in before and n != "session.json"} == {
        n: f for n, f in before.items() if n != "session.json"
    }
    assert len(after) == len(before) + 1


def test_an_export_repairs_its_own_folder(memory: Memory, session_id: str, tmp_path: Path) -> None:
    folder = export_session(memory, session_id, tmp_path / "out")
    pictures = sorted((folder / "images").iterdir())
    pictures[0].write_bytes(b"scratched")
    pictures[1].unlink()
    assert not verify_export(folder).ok
    export_session(memory, session_id, folder)
    assert verify_export(folder).ok


def test_an_empty_folder_will_do(memory: Memory, session_id: str, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    assert verify_export(export_session(memory, session_id, tmp_path / "out")).ok


def test_never_writes_over_what_is_not_its_own(memory: Memory, session_id: str, tmp_path: Path) -> None:
    foreign = tmp_path / "thesis"
    foreign.mkdir()
    (foreign / "chapter.txt").write_text("three years of work")
    (tmp_path / "note.txt").write_text("a note")
    other = memory.sessions.create("carm", {})
    export_session(memory, other.id, tmp_path / "other")
    for taken in (foreign, tmp_path / "note.txt", tmp_path / "other"):
        before = files(tmp_path)
        with pytest.raises(BadInput, match=taken.name):
            export_session(memory, session_id, taken)
        assert {n: f for n, f in files(tmp_path).items() if "memory.sqlite" not in n} == {
            n: f for n, f in before.items() if "memory.sqlite" not in n
        }


def test_a_lost_picture_leaves_no_half_folder(memory: Memory, session_id: str, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "memory.sqlite") as database:
        database.execute("UPDATE blobs SET data = x'00' WHERE data = ?", (b"second picture",))
    database.close()
    with pytest.raises(IntegrityError):
        export_session(memory, session_id, tmp_path / "out")
    assert [p.name for p in tmp_path.iterdir() if not p.name.startswith("memory.sqlite")] == []


def test_a_place_that_cannot_be_written_is_named(memory: Memory, session_id: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OperatorError, match="file/out"):
        export_session(memory, session_id, tmp_path / "file" / "out")


def test_unknown_session(memory: Memory, session_id: str, tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match=session_id):
        export_session(memory, session_id + "0", tmp_path / "out")
    assert not (tmp_path / "out").exists()


Content = dict[str, Any]


def _change_payload(content: Content) -> None:
    content["events"][1]["payload"]["pose"]["x_mm"] = 0.2


def _move_time(content: Content) -> None:
    content["events"][1]["created_at"] = "2020-01-01T00:00:00Z"


def _drop_first(content: Content) -> None:
    del content["events"][0]


def _cut_tail(content: Content) -> None:
    del content["events"][-1]


def _change_act(content: Content) -> None:
    content["ledger"][0]["act"]["arguments"]["left_mm"] = 1.0


def _change_feedback(content: Content) -> None:
    content["feedback"][0]["text"] = "go 20 mm right, please"


@pytest.mark.parametrize(
    ("forge", "broken_seq", "reason"),
    [
        (_change_payload, 2, "event 2 was changed"),
        (_move_time, 2, "event 2 was changed"),
        (_drop_first, 1, "where event 1"),
        (_cut_tail, 2, "2 events on record, the folder 1"),
        (_change_act, None, '`acts` row ["k1"], column `act`: was changed'),
        (_change_feedback, None, "`messages` row [1], column `text`: was changed"),
    ],
)
def test_a_forged_folder_is_found_out(
    memory: Memory, session_id: str, tmp_path: Path, forge: Callable[[Content], None], broken_seq: int, reason: str
) -> None:
    manifest = export_session(memory, session_id, tmp_path / "out") / "session.json"
    content = json.loads(manifest.read_text())
    forge(content)
    manifest.write_text(json.dumps(content))
    found = verify_export(tmp_path / "out")
    assert not found.ok
    assert found.broken_seq == broken_seq
    assert reason in found.reason


@pytest.mark.parametrize("change", [lambda p: p.write_bytes(b"another"), lambda p: p.unlink()])
def test_a_changed_or_missing_picture_is_found_out(
    memory: Memory, session_id: str, tmp_path: Path, change: Callable[[Path], object]
) -> None:
    folder = export_session(memory, session_id, tmp_path / "out")
    second = memory.events.read(session_id)[1].payload["image"]["sha256"]
    change(folder / "images" / f"{second}.png")
    found = verify_export(folder)
    assert (found.ok, found.broken_seq) == (False, 2)
    assert second in found.reason


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": "loopwright-session-9"}'])
def test_what_is_no_export_is_said_to_be_none(tmp_path: Path, text: str) -> None:
    with pytest.raises(BadInput, match="no exported session"):
        verify_export(tmp_path)
    (tmp_path / "session.json").write_text(text)
    with pytest.raises(BadInput, match=r"session\.json"):
        verify_export(tmp_path)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", max_size=3), inner, max_size=3),
    max_leaves=10,
)


@examples(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=json_values)
def test_whatever_was_recorded_hashes_the_same_in_the_folder(memory: Memory, tmp_path: Path, value: Any) -> None:
    row = memory.sessions.create("carm", {})
    with memory.sessions.acquire(row.id):
        memory.events.append(row.id, "note", {"value": value}, branch=0, step=0)
    assert verify_export(export_session(memory, row.id, tmp_path / row.id)).ok
