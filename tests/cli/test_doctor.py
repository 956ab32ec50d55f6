"""`loopwright doctor`: it finds what is broken, names the repair, and says whether the default path works."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from loopwright.memory import open_memory
from loopwright.settings import settings
from loopwright.tools.carm.render import RENDERERS

Cli = Callable[..., Any]


@pytest.fixture
def found(loopwright: Cli) -> Callable[[], dict[str, dict[str, Any]]]:
    """Runs the doctor and returns its checks by name, the summary under an empty name."""

    def look() -> dict[str, dict[str, Any]]:
        done = loopwright("doctor", "--json")
        *checks, summary = done.json
        assert done.code == (0 if summary["default_path_works"] else 1)
        assert summary["default_path_works"] == all(check["status"] == "ok" for check in checks if check["needed"])
        return {check["name"]: check for check in checks} | {"": summary}

    return look


Found = Callable[[], dict[str, dict[str, Any]]]


def test_the_default_path_works_here(found: Found) -> None:
    checks = found()
    assert {name: check["found"] for name, check in checks.items() if check.get("status") == "broken"} == {}
    assert checks[""]["default_path_works"]
    assert {"python", "cores", "memory", "torch", "gpu", "sqlite", "postgresql", "sessions", "C-arm network"} <= set(
        checks
    )
    assert {f"renderer {name}" for name in RENDERERS} <= set(checks)


def test_it_leaves_nothing_behind(found: Found) -> None:
    found()
    assert not settings().data_dir.exists()
    assert not settings().cache_dir.exists()


def test_what_is_absent_has_its_repair(found: Found, loopwright: Cli) -> None:
    chest = found()["chest CT"]
    assert chest["status"] == "absent"
    assert chest["repair"] == "loopwright data fetch chest"
    assert chest["repair"] in loopwright("doctor").out


def test_the_chest_is_found_where_it_was_fetched(found: Found, chest_cache: Path) -> None:
    assert found()["chest CT"]["status"] == "ok"


def test_a_data_folder_that_cannot_be_made(found: Found, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("LOOPWRIGHT_DATA_DIR", str(tmp_path / "file" / "data"))
    checks = found()
    assert checks["data folder"]["status"] == checks["sqlite"]["status"] == "broken"
    assert "LOOPWRIGHT_DATA_DIR" in checks["data folder"]["repair"]
    assert not checks[""]["default_path_works"]


def test_a_full_disk(found: Found, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loopwright.cli.doctor._NEEDED_DISK_GIB", 2.0**40)
    assert found()["data folder"]["status"] == "broken"


def test_a_memory_that_is_no_database(found: Found) -> None:
    settings().data_dir.mkdir(parents=True)
    (settings().data_dir / "memory.sqlite").write_bytes(b"not a database" * 1000)
    checks = found()
    assert checks["sessions"]["status"] == "broken"
    assert "memory.sqlite" in checks["sessions"]["found"]
    assert not checks[""]["default_path_works"]


def test_sessions_are_counted(found: Found) -> None:
    with open_memory(settings().memory_url) as memory:
        memory.sessions.create("carm", {})
    assert found()["sessions"]["found"] == "1 sessions"


def test_a_database_server_that_does_not_answer(found: Found, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOPWRIGHT_MEMORY__URL", "postgresql+psycopg://user:hunter2@127.0.0.1:9/loops")
    checks = found()
    assert checks["postgresql"]["needed"] and checks["sessions"]["status"] == "broken"
    assert "hunter2" not in str(checks)


def test_sqlite_without_a_write_ahead_log(found: Found, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a network file system; an in-memory database refuses the mode in the same way."""
    real = sqlite3.connect
    monkeypatch.setattr("loopwright.cli.doctor.sqlite3.connect", lambda _: real(":memory:"))
    with closing(real(":memory:")) as connection:
        assert connection.execute("PRAGMA journal_mode=WAL").fetchone()[0] != "wal"
    assert found()["sqlite"]["status"] == "broken"


def test_a_renderer_that_was_chosen_and_is_not_here(found: Found, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOPWRIGHT_CARM__RENDERER", "deepdrr")
    checks = found()
    assert checks["renderer deepdrr"]["needed"]
    assert checks["renderer deepdrr"]["status"] == "broken"
    assert not checks[""]["default_path_works"]


def test_only_known_environments_are_set_up(loopwright: Cli) -> None:
    done = loopwright("doctor", "--setup", "deepdr")
    assert done.code == 2
    assert "Did you mean `deepdrr`?" in done.err


def test_a_data_folder_with_any_name(found: Found, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOPWRIGHT_DATA_DIR", str(tmp_path / "100%20 here?"))
    assert found()["sessions"]["found"] == f"{settings().data_dir / 'memory.sqlite'} is made by the first session"
    open_memory(settings().memory_url).close()
    assert found()["sessions"]["found"] == "0 sessions"
