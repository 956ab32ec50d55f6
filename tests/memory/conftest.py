"""A memory in either database, a session in it, and a way to it behind its back."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from sqlalchemy import create_engine

from loopwright.memory import Memory, open_memory


@pytest.fixture
def memory(url: str) -> Iterator[Memory]:
    with open_memory(url) as opened:
        yield opened


@pytest.fixture
def unheld_id(memory: Memory) -> str:
    """A session that no process holds."""
    return memory.sessions.create("carm", {"target": "T12"}).id


@pytest.fixture
def session_id(memory: Memory, unheld_id: str) -> Iterator[str]:
    """A session that this process holds, as whoever writes for it must."""
    with memory.sessions.acquire(unheld_id):
        yield unheld_id


@pytest.fixture
def new_session(memory: Memory) -> Iterator[Callable[..., str]]:
    """`new_session(loop="carm")`: makes a further session that this process holds; its id."""
    with ExitStack() as held:

        def make(loop: str = "carm") -> str:
            return held.enter_context(memory.sessions.acquire(memory.sessions.create(loop, {}).id)).session_id

        yield make


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
