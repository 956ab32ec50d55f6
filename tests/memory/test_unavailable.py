"""What cannot be opened or written: named with its URL (no password), the cause and the repair; nothing is lost."""

import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from loopwright.errors import BadInput, MemoryUnavailable, MissingDependency
from loopwright.memory import open_memory
from loopwright.settings import settings


def test_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(MemoryUnavailable, match=r"x\.sqlite` cannot be used: unable to open .* Make the folder"):
        open_memory(f"sqlite:///{tmp_path / 'missing' / 'x.sqlite'}")
    assert not (tmp_path / "missing").exists()


def test_the_default_folder_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOPWRIGHT_DATA_DIR", str(tmp_path / "a" / "b"))
    settings.cache_clear()
    try:
        with open_memory(settings().memory_url) as memory:
            assert memory.sessions.list() == []
    finally:
        settings.cache_clear()
    path = tmp_path / "a" / "b" / "memory.sqlite"
    assert stat.filemode(path.stat().st_mode) == "-rw-------"


@pytest.mark.parametrize("name", ["My%20Project", "what?x=1", "a%3Fb", "100 %", "#1 & 2", "ü+ß", "a@b:c"])
def test_the_data_folder_is_the_one_that_was_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("LOOPWRIGHT_DATA_DIR", str(tmp_path / name))
    settings.cache_clear()
    try:
        with open_memory(settings().memory_url) as memory:
            kept = memory.sessions.create("carm", {}).id
        with open_memory(settings().memory_url) as memory:
            assert memory.sessions.get(kept).loop == "carm"
    finally:
        settings.cache_clear()
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name / "memory.sqlite").is_file()


def test_options_of_a_file_are_refused_rather_than_dropped(tmp_path: Path) -> None:
    for options in ("timeout=5", "x", ""):
        with pytest.raises(BadInput, match=rf"has the options '{options}' after `\?`.*`%3F`"):
            open_memory(f"sqlite:///{tmp_path}/m.sqlite?{options}")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", [b"nonsense" * 200, b"SQLite format 3\0" + b"\1" * 5000])
def test_a_file_that_is_no_database(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "memory.sqlite"
    path.write_bytes(content)
    with pytest.raises(MemoryUnavailable, match="left untouched: name another file"):
        open_memory(f"sqlite:///{path}")
    assert path.read_bytes() == content


def test_a_folder_in_place_of_the_file(tmp_path: Path) -> None:
    with pytest.raises(MemoryUnavailable):
        open_memory(f"sqlite:///{tmp_path}")


def test_a_file_that_another_program_holds(tmp_path: Path) -> None:
    path = tmp_path / "memory.sqlite"
    with open_memory(f"sqlite:///{path}", busy_timeout_s=0.1) as memory:
        session_id = memory.sessions.create("carm", {}).id
        memory.sessions.acquire(session_id)
        blocker = sqlite3.connect(path, isolation_level=None)
        blocker.execute("BEGIN IMMEDIATE")
        with pytest.raises(MemoryUnavailable, match=r"locked\. Another program holds it: .*busy_timeout_s"):
            memory.events.append(session_id, "seen", {}, branch=0, step=0)
        assert memory.events.read(session_id) == []  # readers never wait
        blocker.execute("COMMIT")
        blocker.close()
        assert memory.events.append(session_id, "seen", {}, branch=0, step=0).seq == 1


def test_a_file_that_is_locked_while_it_is_opened(tmp_path: Path) -> None:
    path = tmp_path / "memory.sqlite"
    blocker = sqlite3.connect(path, isolation_level=None)
    blocker.execute("BEGIN EXCLUSIVE")
    with pytest.raises(MemoryUnavailable, match="locked"):
        open_memory(f"sqlite:///{path}", busy_timeout_s=0.1)
    blocker.close()


FILL = """
import hashlib, resource, sys
from loopwright.errors import MemoryUnavailable
from loopwright.memory import open_memory
with open_memory(sys.argv[1]) as memory, memory.sessions.acquire(sys.argv[2]):
    limit = 1_000_000
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    n = 0
    try:
        while n < 100:
            data = hashlib.shake_256(bytes([n])).digest(50_000)
            memory.blobs.put(data, session_id=sys.argv[2], media_type="image/png", width_px=1, height_px=1)
            memory.events.append(sys.argv[2], "seen", {"n": n}, branch=0, step=n)
            n += 1
    except MemoryUnavailable as error:
        print(n, error)
        sys.exit(error.exit_code)
"""


def test_a_full_disk_loses_nothing_that_was_written(tmp_path: Path) -> None:
    """The operating system refuses to let the file grow, in the middle of a session."""
    url = f"sqlite:///{tmp_path / 'memory.sqlite'}"
    with open_memory(url) as memory:
        session_id = memory.sessions.create("carm", {}).id
        done = subprocess.run([sys.executable, "-c", FILL, url, session_id], capture_output=True, text=True, timeout=60)
        assert done.returncode == MemoryUnavailable.exit_code, done.stderr
        n, message = done.stdout.split(" ", 1)
        assert "Nothing of this write was kept: free space, then resume." in message
        assert 0 < int(n) < 100
        verification = memory.verify(session_id)
        assert verification.ok and verification.n == int(n)
        assert all(memory.blobs.read(ref) for ref in memory.blobs.of(session_id))
        with memory.sessions.acquire(session_id):
            assert memory.events.append(session_id, "seen", {}, branch=0, step=0).seq == int(n) + 1


def test_a_server_that_is_not_there_and_a_password_that_is_not_shown() -> None:
    with pytest.raises(MemoryUnavailable, match="Start the server") as caught:
        open_memory("postgresql://someone:secret@127.0.0.1:1/loopwright", busy_timeout_s=1)
    assert "postgresql+psycopg://someone:***@127.0.0.1:1/loopwright" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_database_that_the_server_does_not_have(postgres_server: str) -> None:
    with pytest.raises(MemoryUnavailable, match="`createdb`"):
        open_memory(postgres_server.replace("/postgres?", "/missing?"))


def test_a_server_without_its_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(MissingDependency, match=r"pip install 'loopwright\[postgres\]'"):
        open_memory("postgresql://localhost/loopwright")


@pytest.mark.parametrize("url", ["", "memory.sqlite", "mysql://localhost/x", "sqlite://", "sqlite:///:memory:"])
def test_what_is_no_url_of_ours(url: str) -> None:
    with pytest.raises(BadInput, match=r"Expected `sqlite:///FILE` or `postgresql://"):
        open_memory(url)
