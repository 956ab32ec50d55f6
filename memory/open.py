"""The front door: `open_memory(url)`."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from loopwright.memory.blobs import Blobs
from loopwright.memory.copying import copy_in, copy_out, require_empty
from loopwright.memory.events import Events
from loopwright.memory.inbox import Inbox
from loopwright.memory.ledger import Ledger
from loopwright.memory.migrate import migrate
from loopwright.memory.retention import Retention
from loopwright.memory.rows import Seal, Verification
from loopwright.memory.sessions import Sessions
from loopwright.memory.steps import Steps
from loopwright.memory.store import Store, parse_url
from loopwright.memory.verify import read_seals, verify
from loopwright.settings import settings

if TYPE_CHECKING:
    from loopwright.memory.checkpointer import Checkpointer


class Memory:
    """One open database. Safe for threads; every process opens its own. Close it, or use it in a `with` block."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.sessions = Sessions(store)
        self.events = Events(store)
        self.blobs = Blobs(store)
        self.inbox = Inbox(store)
        self.ledger = Ledger(store)
        self.steps = Steps(store, self.inbox)
        self.retention = Retention(store)

    @property
    def url(self) -> str:
        """Where this memory is, its password hidden."""
        return self._store.url

    @property
    def store(self) -> Store:
        """The database underneath, for a checkpointer of one's own."""
        return self._store

    @contextmanager
    def moment(self) -> Iterator[None]:
        """Several reads of this thread that all see the same moment, however much is written meanwhile."""
        with self._store.moment():
            yield

    def copy_out(self, file: Path, while_held: Callable[[], None]) -> None:
        """See `loopwright.memory.copying.copy_out`."""
        copy_out(self._store, file, while_held)

    def copy_in(self, file: Path) -> None:
        """See `loopwright.memory.copying.copy_in`."""
        copy_in(self._store, file)

    def require_empty(self) -> None:
        """Raise `BadInput` where there are sessions."""
        with self._store.read() as connection:
            require_empty(self._store, connection)

    def seals(self, session_id: str) -> list[Seal]:
        """What each transaction of a session wrote, oldest first."""
        with self._store.read() as connection:
            return list(read_seals(connection, session_id))

    def verify(self, session_id: str, *, head: str = "") -> Verification:
        """Check that a session is as it was written: each column of each row, the log, the images. See `Verification`.

        Args:
            session_id: which.
            head: the head of its record as it was told elsewhere: what only it can show is a database that was hashed
                anew as a whole, or whose end was cut. A record that has grown since holds it too.

        Raises:
            UnknownName: there is no such session.
        """
        return verify(self._store, session_id, head)

    def checkpointer(self) -> "Checkpointer":
        """LangGraph's checkpointer on this database, for every session that this memory holds (`thread_id`: its id)."""
        from loopwright.memory.checkpointer import Checkpointer  # LangGraph takes most of a second to import

        return Checkpointer(self._store)

    def close(self) -> None:
        """Let go of the sessions that are held, and close every connection."""
        self.sessions.release_all()
        self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_memory(url: str, *, busy_timeout_s: float = 10.0) -> Memory:
    """Open the memory at `url`: made where it is new, upgraded where it is older than this code.

    The folder of the default file is made; one that the caller named must be there, as a misspelt one would start an
    empty memory without a word.

    Args:
        url: `sqlite:///FILE` or `postgresql://USER:PASSWORD@HOST/DATABASE`.
        busy_timeout_s: how long a write waits for other processes, s.

    Raises:
        BadInput: `url` is not a URL of these.
        MemoryUnavailable: missing, locked, full, or not a database of this program.
        MemoryVersionError: newer than this code, or its upgrade failed.
        MissingDependency: PostgreSQL without `psycopg`.
    """
    address = parse_url(url)
    store = Store(address, busy_timeout_s=busy_timeout_s)
    if store.is_sqlite:
        _make_file(store.path)
    try:
        migrate(store)
    except BaseException:
        store.close()
        raise
    return Memory(store)


def _make_file(path: Path) -> None:
    """For this user's eyes alone, as what a clinician saw and said is in it; SQLite's side files get the same mode."""
    if path.parent == settings().data_dir:
        path.parent.mkdir(parents=True, exist_ok=True)
    with suppress(OSError):  # SQLite says what is wrong with the place, and `MemoryUnavailable` how to repair it
        path.touch(mode=0o600, exist_ok=True)
