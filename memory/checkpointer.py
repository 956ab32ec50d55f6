"""LangGraph's own checkpointers on the memory's database, behind one strict serializer. Knows no graph.

A checkpoint only says where to resume. It is written by `SqliteSaver` or `PostgresSaver` over a connection of its
own; `Checkpointer` adds what those two leave open: the async half (in a thread), database errors as
`MemoryUnavailable`, and that a class outside the allow-list is refused when it is written, and again when it is read.
"""

import asyncio
import inspect
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    DeltaChannelHistory,
)
from langgraph.checkpoint.serde.event_hooks import SerdeEvent, register_serde_event_listener
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.sqlite import SqliteSaver

from loopwright import schema
from loopwright.errors import DeveloperError, IntegrityError, MissingDependency
from loopwright.memory.store import Store

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


class Checkpointer(BaseCheckpointSaver[str]):
    """One of LangGraph's savers, whole: sync as it is, async in a thread, its database's errors translated."""

    def __init__(
        self,
        saver: BaseCheckpointSaver[str],
        translated: Callable[[], AbstractContextManager[None]],
        close: Callable[[], None],
    ) -> None:
        super().__init__(serde=saver.serde)
        self._saver = saver
        self._translated = translated
        self.close = close

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """See `BaseCheckpointSaver`."""
        with self._translated():
            return self._saver.get_tuple(config)

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        """See `BaseCheckpointSaver`."""
        with self._translated():
            yield from self._saver.list(config, filter=filter, before=before, limit=limit)

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """See `BaseCheckpointSaver`."""
        with self._translated():
            return self._saver.put(config, checkpoint, metadata, new_versions)

    def put_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """See `BaseCheckpointSaver`."""
        with self._translated():
            self._saver.put_writes(config, writes, task_id, task_path)

    def delete_thread(self, thread_id: str) -> None:
        """See `BaseCheckpointSaver`."""
        with self._translated():
            self._saver.delete_thread(thread_id)

    def get_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """See `BaseCheckpointSaver`."""
        with self._translated():
            return self._saver.get_delta_channel_history(config=config, channels=channels)

    def get_next_version(self, current: str | None, channel: None) -> str:
        """See `BaseCheckpointSaver`."""
        return self._saver.get_next_version(current, channel)

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

    async def aget_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """As `get_delta_channel_history`, in a thread."""
        return await asyncio.to_thread(self.get_delta_channel_history, config=config, channels=channels)


def open_checkpointer(store: Store) -> Checkpointer:
    """The checkpointer of `store`, its tables made where they are missing.

    Raises:
        MemoryUnavailable: the database cannot be used.
        MissingDependency: PostgreSQL without its checkpointer.
    """
    return _open_sqlite(store) if store.is_sqlite else _open_postgres(store)


def _open_sqlite(store: Store) -> Checkpointer:
    with store.translated():
        connection = sqlite3.connect(store.path, timeout=store.busy_timeout_s, check_same_thread=False)
        # the next event's commit carries a checkpoint to the disk with it; one that is lost to a power cut is replayed
        connection.execute("PRAGMA synchronous = NORMAL")
        saver = SqliteSaver(connection, serde=StrictSerializer())
        saver.setup()
    return Checkpointer(saver, store.translated, connection.close)


def _open_postgres(store: Store) -> Checkpointer:
    try:
        import psycopg
        from langgraph.checkpoint.postgres import PostgresSaver
        from psycopg.rows import DictRow, dict_row
        from psycopg_pool import ConnectionPool, PoolTimeout
    except ImportError as error:
        raise MissingDependency(
            f"Memory `{store.url}` needs `langgraph-checkpoint-postgres`. "
            "Install it: `pip install 'loopwright[postgres]'`."
        ) from error

    def alive(connection: psycopg.Connection[DictRow]) -> None:
        connection.execute("")  # the pool replaces a connection that fails here, as after the server's restart

    @contextmanager
    def translated() -> Iterator[None]:
        try:
            yield
        except (psycopg.OperationalError, PoolTimeout) as error:
            raise store.unavailable(error) from error

    pool = ConnectionPool(
        store.address.set(drivername="postgresql").render_as_string(hide_password=False),
        connection_class=psycopg.Connection[DictRow],
        min_size=1,
        max_size=4,
        timeout=store.busy_timeout_s,
        kwargs={"autocommit": True, "prepare_threshold": 0, "row_factory": dict_row},
        check=alive,
        open=True,
    )
    saver = PostgresSaver(pool, serde=StrictSerializer())
    with translated(), store.alone():
        saver.setup()
    return Checkpointer(saver, translated, pool.close)
