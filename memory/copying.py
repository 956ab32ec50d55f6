"""Copies of a whole memory: to a new SQLite file, and from one into an empty memory of either database. Knows no files
but these.

Rows are copied, not pages: so a copy of one database can be taken into the other, and into a newer schema.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from sqlalchemy import Connection, TableClause, Text, column, func, insert, select, table, text

from loopwright.errors import BadInput, IntegrityError
from loopwright.memory.migrate import migrate
from loopwright.memory.store import Store, parse_url
from loopwright.memory.tables import Base, CanonicalJson

NOT_COPIED = frozenset({"leases"})
"""Nobody runs the sessions of a copy."""

_BATCH = 200
_NUMBERED = ("acts", "messages", "steps")
"""The tables that PostgreSQL numbers by sequences, which have to go on from there."""


def copy_out(store: Store, file: Path, while_held: Callable[[], None]) -> None:
    """Copy every row to a new SQLite memory at `file`; sessions may run meanwhile.

    Args:
        store: of which memory.
        file: does not exist yet.
        while_held: called at the moment that is copied, while no session can write: to copy what belongs to it. Reads
            of this thread see that moment.

    Raises:
        IntegrityError: a row cannot be read.
    """
    with ExitStack() as moment, _opened(file) as target:
        with store.write() as held:
            if not store.is_sqlite:  # whoever writes for a session updates its row
                held.execute(text("LOCK TABLE sessions IN SHARE MODE"))
            source = moment.enter_context(store.moment())
            for each in () if store.is_sqlite else (held, source):  # copying the devices takes as long as it takes
                each.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
            while_held()
        with target.write() as connection:
            _copy(source, connection)


def copy_in(store: Store, file: Path) -> None:
    """Copy every row of the SQLite memory at `file`, which is brought to this code's schema, into an empty memory.

    Raises:
        BadInput: the memory has sessions already; nothing was changed.
        IntegrityError: a row cannot be read; nothing was changed.
        MemoryVersionError: the file is newer than this code.
    """
    with _opened(file) as source, source.read() as rows, store.write() as connection:
        require_empty(store, connection)
        _copy(rows, connection)
        for name in () if store.is_sqlite else _NUMBERED:
            newest = f"SELECT max(id) FROM {name}"
            connection.execute(text(f"SELECT setval(pg_get_serial_sequence('{name}', 'id'), ({newest}))"))


def require_empty(store: Store, connection: Connection) -> None:
    """Raise `BadInput` where there are sessions."""
    if connection.scalar(select(func.count()).select_from(Base.metadata.tables["sessions"])):
        raise BadInput(
            f"Memory `{store.url}` has sessions already; nothing was changed. Restore into an empty one: name another "
            "data folder (LOOPWRIGHT_DATA_DIR) or database (LOOPWRIGHT_MEMORY_URL)."
        )


@contextmanager
def _opened(file: Path) -> Iterator[Store]:
    """The SQLite memory at `file`, made where it is not there."""
    store = Store(parse_url(f"sqlite:///{str(file).replace('%', '%25').replace('?', '%3F')}"), busy_timeout_s=10.0)
    try:
        migrate(store)
        yield store
    finally:
        store.close()


def _copy(source: Connection, target: Connection) -> None:
    for each in Base.metadata.sorted_tables:
        if each.name in NOT_COPIED:
            continue
        as_kept = _as_kept(each.name)
        try:
            for rows in source.execute(select(as_kept)).partitions(_BATCH):
                target.execute(insert(as_kept), [dict(row._mapping) for row in rows])
        except (ValueError, TypeError) as error:
            raise IntegrityError(
                f"A row of `{each.name}` cannot be read: {error}. Nothing was copied. `loopwright sessions verify` "
                "names it; prune its session, or put an older backup in its place."
            ) from error


def _as_kept(name: str) -> TableClause:
    """A table whose JSON is taken as the text that it is kept as."""
    columns = Base.metadata.tables[name].c
    return table(name, *(column(c.name, Text() if isinstance(c.type, CanonicalJson) else c.type) for c in columns))
