"""Changing a memory behind its back: every column of every row, on either database."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from sqlalchemy import Boolean, LargeBinary, Table, create_engine, text
from sqlalchemy.engine import Connection, Engine

from loopwright.memory.tables import Base, BigId, UtcDateTime

NOT_OF_THE_RECORD = frozenset({"leases"})
"""Who runs a session now."""


class Place(NamedTuple):
    """A column of a row; `where` finds the row."""

    table: str
    column: str
    where: str


class Vandal:
    """Whoever has all rights on a database. What it changes it puts back."""

    def __init__(self, url: str) -> None:
        self.engine: Engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
        self.is_sqlite = self.engine.dialect.name == "sqlite"

    def places(self, session_id: str, rows_each: int = 1) -> Iterator[Place]:
        """Every column of every table of a session's record, in `rows_each` of its rows; not the session's id."""
        for table in Base.metadata.sorted_tables:
            if table.name not in NOT_OF_THE_RECORD:
                for where in self._rows(table, session_id, rows_each):
                    names = [c.name for c in table.c if (table.name, c.name) != ("sessions", "id")]
                    yield from (Place(table.name, name, where) for name in names)

    def changed(self, place: Place, check: Callable[[], Any]) -> Any:
        """What `check` says while a column holds another value."""
        column = Base.metadata.tables[place.table].c[place.column]
        update = f'UPDATE {place.table} SET "{column.name}" = {self._other(column)} WHERE {place.where}'
        return self.during([update], check)

    def during(self, statements: list[str], check: Callable[[], Any]) -> Any:
        """What `check` says after these statements; they are undone afterwards."""
        with self.engine.connect() as connection:
            self._unlock(connection)
            before = self._all(connection)
            for statement in statements:
                connection.exec_driver_sql(statement)
            connection.commit()
            try:
                return check()
            finally:
                self._put_back(connection, before)

    def close(self) -> None:
        """Let go of the database."""
        self.engine.dispose()

    def _rows(self, table: Table, session_id: str, n: int) -> list[str]:
        keys = [column.name for column in table.primary_key]
        named = ", ".join(f'"{key}"' for key in keys)
        of = {"sessions": f"id = '{session_id}'", "blobs": "true"}.get(table.name, f"session_id = '{session_id}'")
        query = f"SELECT {named} FROM {table.name} WHERE {of} ORDER BY {named} DESC LIMIT {n}"
        with self.engine.connect() as connection:
            rows = connection.exec_driver_sql(query)
            return [" AND ".join(f"\"{k}\" = '{v}'" for k, v in zip(keys, row, strict=True)) for row in rows]

    def _other(self, column: Any) -> str:
        """SQL of a value that the column does not hold."""
        name = f'"{column.name}"'
        if isinstance(column.type, Boolean):
            return f"NOT {name}"
        if isinstance(column.type, UtcDateTime):
            return "'1999-01-01 00:00:00.000000'"
        if isinstance(column.type, LargeBinary):
            return "X'00'" if self.is_sqlite else "'\\x00'"
        if isinstance(column.type, type(BigId)) or column.type.python_type is int:
            return f"coalesce({name}, 0) + 1000"
        if column.name == "status":
            return f"CASE {name} WHEN 'stopped' THEN 'paused' WHEN 'intended' THEN 'refused' ELSE 'intended' END"
        return f"coalesce({name}, '') || ' '"

    def _unlock(self, connection: Connection) -> None:
        """Take the database's own guards away, as whoever owns it can."""
        if self.is_sqlite:
            connection.exec_driver_sql("PRAGMA foreign_keys = OFF")
            connection.exec_driver_sql("PRAGMA ignore_check_constraints = ON")
            names = connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'trigger'").all()
            for (name,) in names:
                connection.exec_driver_sql(f"DROP TRIGGER {name}")
        else:
            connection.exec_driver_sql("SET session_replication_role = replica")  # neither triggers nor foreign keys
            checks = "SELECT conrelid::regclass, conname FROM pg_constraint WHERE starts_with(conname, 'ck_')"
            for table, name in connection.exec_driver_sql(checks).all():
                connection.exec_driver_sql(f"ALTER TABLE {table} DROP CONSTRAINT {name}")
        connection.commit()

    def _all(self, connection: Connection) -> dict[str, list[dict[str, Any]]]:
        return {
            table.name: [dict(row._mapping) for row in connection.exec_driver_sql(f"SELECT * FROM {table.name}")]
            for table in Base.metadata.sorted_tables
        }

    def _put_back(self, connection: Connection, before: dict[str, list[dict[str, Any]]]) -> None:
        for table in Base.metadata.sorted_tables:
            connection.exec_driver_sql(f"DELETE FROM {table.name}")
            if rows := before[table.name]:
                names = ", ".join(f'"{name}"' for name in rows[0])
                marks = ", ".join(f":{name}" for name in rows[0])
                connection.execute(text(f"INSERT INTO {table.name} ({names}) VALUES ({marks})"), rows)
        connection.commit()
