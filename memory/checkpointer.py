"""LangGraph's checkpoints in the memory's own tables: a thread is a session. Knows no graph.

A checkpoint only says where to resume. It is written by the holder of the session's newest lease alone, in the
transaction that checks this (`lock_held`): a process that was overtaken leaves no late checkpoint. The next event
brings it to the disk; one that is lost to a power cut is replayed. A class outside the allow-list is refused when it is
written, and again when it is read.
"""

import asyncio
import inspect
import threading
from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from contextlib import suppress
from typing import Any, Self

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    WRITES_IDX_MAP,
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    PendingWrite,
    get_checkpoint_id,
    get_checkpoint_metadata,
    writes_sort_key,
)
from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.checkpoint.serde.event_hooks import SerdeEvent, register_serde_event_listener
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from sqlalchemy import ColumnElement, Connection, Row, Table, bindparam, delete, select

from loopwright import schema
from loopwright.errors import DeveloperError, IntegrityError, UnknownName
from loopwright.memory.sessions import lock_held
from loopwright.memory.store import Change, Store, or_replace
from loopwright.memory.tables import Base, CheckpointTable, CheckpointWriteTable
from loopwright.memory.values import plain_json

ALLOWED = tuple(
    item
    for item in vars(schema).values()
    if inspect.isclass(item) and issubclass(item, schema.Frozen) and item is not schema.Frozen
)
"""The classes that a checkpoint may hold beside LangGraph's own safe ones: the values of `loopwright.schema`."""


class StrictSerializer(JsonPlusSerializer):
    """LangGraph's msgpack, without pickle, and with errors where LangGraph would warn and hand out raw data."""

    def __init__(self) -> None:
        super().__init__(pickle_fallback=False, allowed_json_modules=None, allowed_msgpack_modules=ALLOWED)

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        """Bytes of `obj`, read back once, so that a state that could not be resumed is never written.

        Raises:
            DeveloperError: it holds something that is not allowed.
        """
        try:
            typed = super().dumps_typed(obj)
            refused = self._load(typed)[1]
        except TypeError as error:
            typed, refused = ("null", b""), str(error)
        if refused:
            raise DeveloperError(
                f"Graph state holds what a checkpoint may not: `{refused}`. Keep plain JSON, messages and the values "
                "of `loopwright.schema` in the state; images as `ImageRef`."
            )
        return typed

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        """The value of these bytes.

        Raises:
            IntegrityError: they name a class that is not allowed, and that no checkpoint of ours holds.
        """
        value, refused = self._load(data)
        if refused:
            raise IntegrityError(
                f"A checkpoint names the class `{refused}`, which is not allowed: it was not written by this program. "
                "Nothing of it was run; restore a backup or prune the session."
            )
        return value

    def _load(self, data: tuple[str, bytes]) -> tuple[Any, str]:
        refused: list[str] = []
        thread_id = threading.get_ident()

        def note(event: SerdeEvent) -> None:
            if "blocked" in event["kind"] and threading.get_ident() == thread_id:
                refused.append(f"{event['module']}.{event['name']}")

        unregister = register_serde_event_listener(note)
        try:
            return super().loads_typed(data), ", ".join(refused)
        finally:
            unregister()


_CHECKPOINTS = Base.metadata.tables[CheckpointTable.__tablename__]
_WRITES = Base.metadata.tables[CheckpointWriteTable.__tablename__]
_WRITE_KEY = ("checkpoint_ns", "checkpoint_id", "task_id", "idx")
_WRITE_VALUES = ("task_path", "channel", "type", "value")
_NEWEST_FIRST = select(_CHECKPOINTS).order_by(_CHECKPOINTS.c.checkpoint_id.desc())
_NARROWED = {
    "thread_id": _CHECKPOINTS.c.session_id,
    "checkpoint_ns": _CHECKPOINTS.c.checkpoint_ns,
    "checkpoint_id": _CHECKPOINTS.c.checkpoint_id,
}


def _here(table: Table) -> tuple[ColumnElement[bool], ...]:
    return table.c.session_id == bindparam("session"), table.c.checkpoint_ns == bindparam("ns")


_NEWEST = _NEWEST_FIRST.where(*_here(_CHECKPOINTS)).limit(1)
_NAMED = select(_CHECKPOINTS).where(*_here(_CHECKPOINTS), _CHECKPOINTS.c.checkpoint_id == bindparam("checkpoint"))
_WRITES_OF = select(_WRITES).where(*_here(_WRITES), _WRITES.c.checkpoint_id == bindparam("checkpoint"))
"""Built once: building them takes longer than running them."""


class Checkpointer(BaseCheckpointSaver[int]):
    """Saves for every session that its memory holds, and keeps nothing itself. Async methods run in threads."""

    def __init__(self, store: Store) -> None:
        super().__init__(serde=StrictSerializer())
        self._store = store
        self._put = or_replace(store.insert(_CHECKPOINTS), *_CHECKPOINTS.primary_key.columns.keys())
        put = store.insert(_WRITES)
        self._put_writes = put.on_conflict_do_nothing().returning(_WRITES.c.idx)
        self._put_special_writes = or_replace(put, *_WRITES.primary_key.columns.keys()).returning(_WRITES.c.idx)

    def with_allowlist(self, extra_allowlist: Collection[tuple[str, ...]]) -> Self:
        """Itself: no graph adds to what a checkpoint may hold."""
        return self

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """See `BaseCheckpointSaver`."""
        session_id, checkpoint_ns = _place(config)
        checkpoint_id = get_checkpoint_id(config)
        query = _NAMED if checkpoint_id else _NEWEST
        place = {"session": session_id, "ns": checkpoint_ns, "checkpoint": checkpoint_id}
        with self._store.read() as connection:
            row = connection.execute(query, place).one_or_none()
            return None if row is None else self._tuple(connection, row)

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        """See `BaseCheckpointSaver`."""
        query = _NEWEST_FIRST
        for name, column in _NARROWED.items():
            if config and (value := config.get("configurable", {}).get(name)) is not None:
                query = query.where(column == str(value))
        if before and (before_id := get_checkpoint_id(before)):
            query = query.where(_CHECKPOINTS.c.checkpoint_id < before_id)
        wanted = (filter or {}).items()
        with self._store.read() as connection:
            for row in connection.execution_options(yield_per=100).execute(query):
                if limit is not None and limit <= 0:
                    return
                if all(name in row.metadata and row.metadata[name] == value for name, value in wanted):
                    limit = None if limit is None else limit - 1
                    yield self._tuple(connection, row)

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """See `BaseCheckpointSaver`.

        Raises:
            DeveloperError: the state holds what a checkpoint may not.
            SessionBusy: this process does not hold the session.
        """
        session_id, checkpoint_ns = _place(config)
        kind, data = self.serde.dumps_typed(checkpoint)
        about = plain_json("The metadata of a checkpoint", dict(get_checkpoint_metadata(config, metadata)))
        here = {"session_id": session_id, "checkpoint_ns": checkpoint_ns, "checkpoint_id": checkpoint["id"]}
        values = {
            "parent_checkpoint_id": get_checkpoint_id(config),
            "type": kind,
            "checkpoint": data,
            "metadata": about,
        }

        def change(connection: Connection) -> None:
            session = lock_held(self._store, connection, session_id)
            connection.execute(self._put, here | values)
            session.wrote(CheckpointTable, [checkpoint_ns, checkpoint["id"]], values)

        self.write(change, session_id)
        return _config(session_id, checkpoint_ns, checkpoint["id"])

    def put_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """See `BaseCheckpointSaver`.

        Raises:
            DeveloperError: a write holds what a checkpoint may not.
            SessionBusy: this process does not hold the session.
        """
        session_id, checkpoint_ns = _place(config)
        task = {
            "session_id": session_id,
            "checkpoint_ns": checkpoint_ns,
            "checkpoint_id": _configurable(config)["checkpoint_id"],
            "task_id": task_id,
            "task_path": task_path,
        }
        rows = []
        for idx, (channel, value) in enumerate(writes):
            kind, data = self.serde.dumps_typed(value)
            of_channel = {"idx": WRITES_IDX_MAP.get(channel, idx), "channel": channel, "type": kind, "value": data}
            rows.append(task | of_channel)
        is_special = all(channel in WRITES_IDX_MAP for channel, _ in writes)  # an interrupt replaces an earlier one
        insert = self._put_special_writes if is_special else self._put_writes

        def change(connection: Connection) -> None:
            session = lock_held(self._store, connection, session_id)
            done = connection.execute(insert, rows).scalars().all() if rows else []
            for row in rows:
                if row["idx"] in done:
                    key = [row[name] for name in _WRITE_KEY]
                    session.wrote(CheckpointWriteTable, key, {name: row[name] for name in _WRITE_VALUES})

        self.write(change, session_id)

    def write(self, change: Change, session_id: str) -> None:
        """Make a change of a session's checkpoints, in one transaction."""
        with self._store.write(late=True) as connection:
            change(connection)

    def delete_thread(self, thread_id: str) -> None:
        """See `BaseCheckpointSaver`. What else a session has stays: `Retention.prune` removes it whole.

        Raises:
            SessionBusy: this process does not hold the session.
        """
        with suppress(UnknownName), self._store.write() as connection:
            session = lock_held(self._store, connection, thread_id)
            for table in (CheckpointWriteTable, CheckpointTable):
                connection.execute(delete(table).where(table.session_id == thread_id))
                session.removed_all(table)

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """As `get_tuple`, in a thread."""
        return await asyncio.to_thread(self.get_tuple, config)

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """As `list`, in a thread."""
        found = await asyncio.to_thread(lambda: [*self.list(config, filter=filter, before=before, limit=limit)])
        for item in found:
            yield item

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """As `put`, in a thread."""
        return await asyncio.to_thread(self.put, config, checkpoint, metadata, new_versions)

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """As `put_writes`, in a thread."""
        await asyncio.to_thread(self.put_writes, config, writes, task_id, task_path)

    async def adelete_thread(self, thread_id: str) -> None:
        """As `delete_thread`, in a thread."""
        await asyncio.to_thread(self.delete_thread, thread_id)

    def _tuple(self, connection: Connection, row: Row[Any]) -> CheckpointTuple:
        here = row.session_id, row.checkpoint_ns
        parent = row.parent_checkpoint_id
        return CheckpointTuple(
            config=_config(*here, row.checkpoint_id),
            checkpoint=self.serde.loads_typed((row.type, row.checkpoint)),
            metadata=row.metadata,
            parent_config=None if parent is None else _config(*here, parent),
            pending_writes=_pending(connection, row, self.serde),
        )


def _pending(connection: Connection, of: Row[Any], serde: SerializerProtocol) -> list[PendingWrite]:
    """What was written since a checkpoint, in the order in which a run applies it."""
    place = {"session": of.session_id, "ns": of.checkpoint_ns, "checkpoint": of.checkpoint_id}
    rows = connection.execute(_WRITES_OF, place).all()  # sorted here: a server may sort text by the rules of a language
    rows = sorted(rows, key=lambda row: writes_sort_key(row.task_path, row.task_id, row.idx))
    return [(row.task_id, row.channel, serde.loads_typed((row.type, row.value))) for row in rows]


def _place(config: RunnableConfig) -> tuple[str, str]:
    """Session and namespace."""
    given = _configurable(config)
    return str(given["thread_id"]), given.get("checkpoint_ns", "")


def _configurable(config: RunnableConfig) -> dict[str, Any]:
    return config.get("configurable", {})


def _config(session_id: str, checkpoint_ns: str, checkpoint_id: str) -> RunnableConfig:
    place = {"thread_id": session_id, "checkpoint_ns": checkpoint_ns, "checkpoint_id": checkpoint_id}
    return {"configurable": place}
