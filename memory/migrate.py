"""Brings a database to this code's schema: made new, upgraded in one transaction, or refused. Knows revisions only.

A new database is created and an older one upgraded without asking, as nobody who opens their sessions wants to run a
command first; the upgrade is one transaction in both databases, so a failed one leaves the old schema as it was. What
this code has never heard of was written by a newer one and is left alone.
"""

import threading
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError
from sqlalchemy import Connection, func, inspect, select
from sqlalchemy.exc import SQLAlchemyError

from loopwright.errors import MemoryUnavailable, MemoryVersionError
from loopwright.memory.store import MIGRATION_LOCK, Store

VERSION_TABLE = "loopwright_version"
MIGRATIONS = Path(__file__).parent / "migrations"

_one_at_a_time = threading.Lock()
"""Alembic keeps the migration that it is running in a global: two threads would take each other's."""


def migrate(store: Store, migrations: Path = MIGRATIONS) -> None:
    """Bring `store` to the newest revision in the folder `migrations`. All that open it at once wait for one.

    Raises:
        MemoryVersionError: the database is newer than this code, or its upgrade failed (nothing was changed).
        MemoryUnavailable: it cannot be opened, or is another program's file.
    """
    config = Config()
    config.set_main_option("script_location", str(migrations).replace("%", "%%"))
    script = ScriptDirectory.from_config(config)
    with store.read() as connection:
        if _revision(connection) == script.get_current_head():
            return
    with _one_at_a_time, store.write() as connection:
        if not store.is_sqlite:
            connection.execute(select(func.pg_advisory_xact_lock(MIGRATION_LOCK)))
        current = _revision(connection)
        if current is None:
            _refuse_strangers(store, connection)
        elif current not in {revision.revision for revision in script.walk_revisions()}:
            raise MemoryVersionError(
                f"Memory `{store.url}` has schema {current!r}, which is newer than this code, or older than its "
                f"first release ({script.get_current_head()!r} is the newest that it knows). It was left untouched: "
                "`pip install --upgrade loopwright`, or name another database (`LOOPWRIGHT_MEMORY_URL`)."
            )
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, "head")
        except (SQLAlchemyError, CommandError) as error:
            raise _failed(store, current, script.get_current_head(), error) from error


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE}).get_current_revision()


def _refuse_strangers(store: Store, connection: Connection) -> None:
    tables = inspect(connection).get_table_names()
    if store.is_sqlite and tables:
        raise MemoryUnavailable(
            f"Memory `{store.url}` is another program's file (it holds the tables {', '.join(sorted(tables)[:5])}). "
            "It was left untouched: name another file."
        )


def _failed(store: Store, current: str | None, head: str | None, error: Exception) -> MemoryVersionError:
    cause = " ".join(str(getattr(error, "orig", None) or error).split())
    return MemoryVersionError(
        f"Memory `{store.url}` could not be brought from schema {current!r} to {head!r}: {cause}. "
        "Nothing was changed: free space or rights as the cause says and open it again, or open it with the version "
        "that wrote it."
    )
