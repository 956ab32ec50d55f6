"""The schema: pinned word by word, equal to the tables' classes, and upgraded or refused as `open_memory` promises.

After a wanted change write the pinned files anew: `WRITE_SCHEMA=1 pytest tests/memory/test_schema.py`.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect
from sqlalchemy.engine import Connection

from loopwright.errors import MemoryUnavailable, MemoryVersionError
from loopwright.memory import Memory, open_memory
from loopwright.memory.migrate import MIGRATIONS, VERSION_TABLE, migrate
from loopwright.memory.store import Store, parse_url
from loopwright.memory.tables import Base

Execute = Callable[[str], list[tuple[Any, ...]]]

NEXT_REVISION = """
import sqlalchemy as sa
from alembic import op
revision = "9999"
down_revision = "{head}"
def upgrade() -> None:
    op.add_column("sessions", sa.Column("title", sa.Text(), nullable=False, server_default="untitled"))
    {more}
"""


def _sqlite_ddl(connection: Connection) -> list[str]:
    rows = connection.exec_driver_sql("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY type DESC, name")
    return [" ".join(sql.split()) for (sql,) in rows if "sqlite_sequence" not in sql]


def _postgres_ddl(connection: Connection) -> list[str]:
    """What the catalogue says, in the server's own words."""
    queries = {
        "column": "SELECT table_name, column_name, data_type, is_nullable, column_default FROM "
        "information_schema.columns WHERE table_schema = 'public' ORDER BY table_name COLLATE \"C\", ordinal_position",
        "constraint": "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint "
        "WHERE connamespace = 'public'::regnamespace AND contype <> 'n' "
        'ORDER BY conrelid::regclass::text COLLATE "C", conname COLLATE "C"',
        "index": "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY indexname COLLATE \"C\"",
        "trigger": 'SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal ORDER BY tgname COLLATE "C"',
        "function": "SELECT pg_get_functiondef(oid) FROM pg_proc "
        "WHERE pronamespace = 'public'::regnamespace ORDER BY proname COLLATE \"C\"",
    }
    return [
        " ".join(f"{what} {' '.join(str(value) for value in row)}".split())
        for what, query in queries.items()
        for row in connection.exec_driver_sql(query)
    ]


def test_the_whole_schema_is_pinned(memory: Memory) -> None:
    is_sqlite = memory.url.startswith("sqlite")
    pinned = Path(__file__).parent / f"schema_{'sqlite' if is_sqlite else 'postgresql'}.txt"
    with memory._store.engine.connect() as connection:
        found = "\n".join(_sqlite_ddl(connection) if is_sqlite else _postgres_ddl(connection)) + "\n"
    if os.environ.get("WRITE_SCHEMA"):
        pinned.write_text(found)
    assert found == pinned.read_text()


def test_the_classes_are_what_the_migrations_make(memory: Memory) -> None:
    with memory._store.engine.connect() as connection:
        options = {"version_table": VERSION_TABLE, "compare_type": True}
        assert compare_metadata(MigrationContext.configure(connection, opts=options), Base.metadata) == []
        names = {c["name"] for table in Base.metadata.tables for c in inspect(connection).get_check_constraints(table)}
    assert {"ck_sessions_status", "ck_acts_status", "ck_acts_approved", "ck_acts_settled_has_outcome"} <= names


def test_every_connection_is_set_up_for_durability(memory: Memory) -> None:
    with memory._store.engine.connect() as connection:
        if not memory.url.startswith("sqlite"):
            assert connection.exec_driver_sql("SHOW synchronous_commit").scalar() == "on"
            return
        pragmas = ("journal_mode", "foreign_keys", "synchronous", "busy_timeout")
        values = [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in pragmas]
    assert values == ["wal", 1, 2, 10_000]


def _with_next_revision(folder: Path, more: str = "") -> Path:
    """The shipped migrations, and one more."""
    copytree(MIGRATIONS, folder)
    head = sorted(path.stem for path in MIGRATIONS.glob("versions/v*.py"))[-1][1:5]
    (folder / "versions" / "v9999_title.py").write_text(NEXT_REVISION.format(head=head, more=more))
    return folder


def test_an_older_database_is_upgraded_with_all_it_holds(url: str, tmp_path: Path) -> None:
    with open_memory(url) as memory:
        session_id = memory.sessions.create("carm", {}).id
        with memory.sessions.acquire(session_id):
            memory.events.append(session_id, "seen", {}, branch=0, step=0)
        migrate(memory._store, _with_next_revision(tmp_path / "newer"))
        with memory._store.engine.connect() as connection:
            assert connection.exec_driver_sql("SELECT title FROM sessions").scalar() == "untitled"
            assert connection.exec_driver_sql(f"SELECT version_num FROM {VERSION_TABLE}").scalar() == "9999"
        assert memory.verify(session_id).ok


def test_a_failed_upgrade_changes_nothing_and_says_so(url: str, tmp_path: Path) -> None:
    with open_memory(url) as memory:
        session_id = memory.sessions.create("carm", {}).id
        broken = _with_next_revision(tmp_path / "broken", more='op.execute("INSERT INTO nowhere VALUES (1)")')
        with pytest.raises(MemoryVersionError, match=r"could not be brought .*nowhere.* Nothing was changed"):
            migrate(memory._store, broken)
        with memory._store.engine.connect() as connection:
            assert "title" not in {column["name"] for column in inspect(connection).get_columns("sessions")}
    with open_memory(url) as memory:
        assert memory.sessions.get(session_id).id == session_id


def test_a_newer_database_is_left_alone(url: str, execute: Execute) -> None:
    open_memory(url).close()
    execute(f"UPDATE {VERSION_TABLE} SET version_num = '9999'")
    with pytest.raises(MemoryVersionError, match=r"schema '9999', which is newer than .*pip install --upgrade"):
        open_memory(url)
    assert execute(f"SELECT version_num FROM {VERSION_TABLE}") == [("9999",)]


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)  # a PostgreSQL database may be shared with other programs
def test_another_programs_file_is_left_alone(url: str, execute: Execute) -> None:
    execute("CREATE TABLE recipes (name TEXT)")
    with pytest.raises(MemoryUnavailable, match=r"another program's file \(it holds the tables recipes\)"):
        open_memory(url)
    assert execute("SELECT name FROM sqlite_master") == [("recipes",)]


OPENERS = """
import os, sys
from loopwright.memory import open_memory
children = []
for _ in range(3):
    children.append(os.fork())
    if children[-1] == 0:
        open_memory(sys.argv[1])
        os._exit(0)
sys.exit(sum(os.waitpid(child, 0)[1] != 0 for child in children))
"""


def test_processes_that_open_a_new_database_at_once_agree(url: str) -> None:
    openers = subprocess.Popen([sys.executable, "-c", OPENERS, url], stderr=subprocess.PIPE, start_new_session=True)
    try:
        _, errors = openers.communicate(timeout=200)
    except subprocess.TimeoutExpired:
        os.killpg(openers.pid, signal.SIGKILL)
        raise
    assert openers.returncode == 0, errors.decode()


def test_migrations_are_packaged() -> None:
    assert (MIGRATIONS / "env.py").is_file() and (MIGRATIONS / "script.py.mako").is_file()
    store = Store(parse_url("sqlite:////nowhere/x.sqlite"), busy_timeout_s=1)
    with pytest.raises(MemoryUnavailable, match="unable to open database file"):
        migrate(store)


def test_opening_a_memory_imports_neither_langgraph_nor_torch(tmp_path: Path) -> None:
    code = (
        "import sys; from loopwright.memory import open_memory; open_memory(sys.argv[1]).close(); "
        "print([name for name in ('langgraph', 'langchain_core', 'torch', 'psycopg') if name in sys.modules])"
    )
    command = [sys.executable, "-c", code, f"sqlite:///{tmp_path / 'memory.sqlite'}"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.parametrize("same", [True, False])
def test_threads_that_open_new_memories_at_once_all_get_one(tmp_path: Path, same: bool) -> None:
    def opened(number: int) -> str:
        with open_memory(f"sqlite:///{tmp_path / ('one' if same else str(number))}.sqlite") as memory:
            return memory.sessions.create("carm", {}).loop

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(opened, range(8))) == ["carm"] * 8
