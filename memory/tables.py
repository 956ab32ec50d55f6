"""The tables, one class each. Knows SQL types and constraints; knows no query.

The schema is made by the migrations alone (`loopwright.memory.migrations`); a test keeps these classes and the
migrated database equal, and pins the database's whole DDL.
"""

import json
from datetime import UTC, datetime
from typing import Any, ClassVar

from sqlalchemy import BigInteger, CheckConstraint, DateTime, ForeignKey, Index, Integer, LargeBinary, Text, text
from sqlalchemy import UniqueConstraint as Unique
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator

from loopwright.schema import canonical_json

BigId = BigInteger().with_variant(Integer, "sqlite")
"""SQLite numbers rows by itself only where the column is spelled INTEGER."""

ACTIVE_STOP = text("is_stop AND cleared_at IS NULL")
UNSETTLED = text("status IN ('intended', 'authorised')")
"""Index and query say these in the same words, else SQLite would not use the partial index."""


class UtcDateTime(TypeDecorator[datetime]):
    """Timezone-aware UTC in Python and in both databases; naive values are refused."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """To UTC; SQLite keeps no zone, so the zone is dropped there."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"Timestamp {value!r} has no timezone; pass an aware one, such as `datetime.now(UTC)`.")
        utc = value.astimezone(UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """From either database to aware UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class CanonicalJson(TypeDecorator[Any]):
    """JSON kept as the very text whose hash is taken; a database's own JSON type would reorder and round it."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        """None is SQL NULL."""
        return None if value is None else canonical_json(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        """The parsed value."""
        return None if value is None else json.loads(value)


class Base(DeclarativeBase):
    """What the columns' Python types mean in SQL."""

    type_annotation_map: ClassVar[dict[Any, Any]] = {
        str: Text,
        int: Integer,
        datetime: UtcDateTime,
        dict[str, Any]: CanonicalJson,
    }


class SessionTable(Base):
    """One durable run of a loop. `n_events` and `head_hash` name the end of its chain of events, `n_seals` and
    `seal_hash` that of its seals, so that a cut tail shows.

    `token` is the fencing token of its newest lease; it counts the leases and never goes back.
    `parent` is no foreign key: a fork outlives its pruned parent.
    """

    __tablename__ = "sessions"
    __table_args__ = (
        CheckConstraint(
            "status IN ('created', 'running', 'waiting', 'paused', 'stopped', 'succeeded', 'failed', 'not_found')",
            name="ck_sessions_status",
        ),
        Index("ix_sessions_created_at", "created_at"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    loop: Mapped[str]
    config: Mapped[dict[str, Any]]
    parent: Mapped[str | None]
    status: Mapped[str]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    n_events: Mapped[int]
    head_hash: Mapped[str]
    token: Mapped[int]
    is_pruning: Mapped[bool]
    n_seals: Mapped[int]
    seal_hash: Mapped[str]


class LeaseTable(Base):
    """Which process runs a session now; no row where none does."""

    __tablename__ = "leases"

    session_id: Mapped[str] = mapped_column(ForeignKey("sessions.id"), primary_key=True)
    token: Mapped[int]
    host: Mapped[str]
    pid: Mapped[int]
    pid_started_at: Mapped[datetime]
    heartbeat_at: Mapped[datetime]


class SealTable(Base):
    """What each transaction of a session wrote, as a hash chain: see `loopwright.memory.sealing`.

    Triggers of the database refuse UPDATE, REPLACE and any DELETE but a prune's.
    """

    __tablename__ = "seals"

    session_id: Mapped[str] = mapped_column(ForeignKey("sessions.id"), primary_key=True)
    n: Mapped[int] = mapped_column(primary_key=True)
    changes: Mapped[str]
    prev_hash: Mapped[str]
    hash: Mapped[str]


class EventTable(Base):
    """The hash chains. Triggers of the database refuse UPDATE, REPLACE and any DELETE but a prune's."""

    __tablename__ = "events"
    __table_args__ = (Unique("session_id", "key", name="uq_events_session_id_key"),)

    session_id: Mapped[str] = mapped_column(ForeignKey("sessions.id"), primary_key=True)
    seq: Mapped[int] = mapped_column(primary_key=True)
    branch: Mapped[int]
    step: Mapped[int]
    kind: Mapped[str]
    key: Mapped[str | None]
    payload: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]
    prev_hash: Mapped[str]
    hash: Mapped[str]


class BlobTable(Base):
    """Encoded images by the SHA-256 of their bytes."""

    __tablename__ = "blobs"

    sha256: Mapped[str] = mapped_column(primary_key=True)
    media_type: Mapped[str]
    width_px: Mapped[int]
    height_px: Mapped[int]
    n_bytes: Mapped[int]
    data: Mapped[bytes] = mapped_column(LargeBinary)


class BlobRefTable(Base):
    """Which sessions refer to a blob; a blob without a row here is removed by the next prune."""

    __tablename__ = "blob_refs"
    __table_args__ = (Index("ix_blob_refs_sha256", "sha256"),)

    session_id: Mapped[str] = mapped_column(ForeignKey("sessions.id"), primary_key=True)
    sha256: Mapped[str] = mapped_column(ForeignKey("blobs.sha256"), primary_key=True)


class MessageTable(Base):
    """The inbox. A STOP is active until `cleared_at`."""

    __tablename__ = "messages"
    __table_args__ = (
        Index("ix_messages_session_id_read_at_step", "session_id", "read_at_step", "id"),
        Index(
            "ix_messages_active_stop",
            "session_id",
            sqlite_where=ACTIVE_STOP,
            postgresql_where=ACTIVE_STOP,
        ),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    session_id: Mapped[str] = mapped_column(ForeignKey("sessions.id"))
    author: Mapped[str]
    text: Mapped[str]
    is_stop: Mapped[bool]
    received_at: Mapped[datetime]
    parsed: Mapped[dict[str, Any] | None] = mapped_column(CanonicalJson)
    read_at_step: Mapped[int | None]
    cleared_at: Mapped[datetime | None]


class ActTable(Base):
    """The actuation ledger: intended -> authorised -> settled, or refused.

    `token` is that of the lease under which an act was authorised, `approved_at` when its approver said yes,
    `world_sha256` a digest of the world that it left.
    """

    __tablename__ = "acts"
    __table_args__ = (
        CheckConstraint("status IN ('intended', 'authorised', 'settled', 'refused')", name="ck_acts_status"),
        CheckConstraint("(status = 'settled') = (outcome IS NOT NULL)", name="ck_acts_settled_has_outcome"),
        CheckConstraint(
            "status IN ('intended', 'refused') "
            "OR approved_by IS NOT NULL AND approved_at IS NOT NULL AND token IS NOT NULL",
            name="ck_acts_approved",
        ),
        Unique("key", name="uq_acts_key"),
        Index("ix_acts_session_id", "session_id", "id"),
        Index(
            "ix_acts_unsettled",
            "session_id",
            "id",
            sqlite_where=UNSETTLED,
            postgresql_where=UNSETTLED,
        ),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    key: Mapped[str]
    session_id: Mapped[str] = mapped_column(ForeignKey("sessions.id"))
    step: Mapped[int]
    act: Mapped[dict[str, Any]]
    command_sha256: Mapped[str]
    status: Mapped[str]
    approved_by: Mapped[str | None]
    approved_at: Mapped[datetime | None]
    token: Mapped[int | None]
    outcome: Mapped[dict[str, Any] | None] = mapped_column(CanonicalJson)
    world_sha256: Mapped[str | None]
    reason: Mapped[str]
    intended_at: Mapped[datetime]
    authorised_at: Mapped[datetime | None]
    closed_at: Mapped[datetime | None]


class StepTable(Base):
    """What recall reads: one row per perception-action round, linked to the round before it.

    `prev_id` is the round before this one on the same line of history (a rewound step links to the round that it was
    rewound to), `depth` counts the line up to here. Equal labels in a row form a run: it began at `run_first_step`,
    `run_length` counts it up to here, `run_prev_id` is the last round of the run before. So recall walks links and
    never scans.
    """

    __tablename__ = "steps"
    __table_args__ = (
        Unique("session_id", "step", "branch", name="uq_steps_session_id_step_branch"),
        Index("ix_steps_session_id", "session_id", "id"),
        Index("ix_steps_loop_signature", "loop", "signature", "id"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    session_id: Mapped[str] = mapped_column(ForeignKey("sessions.id"))
    branch: Mapped[int]
    step: Mapped[int]
    loop: Mapped[str]
    label: Mapped[str]
    signature: Mapped[str]
    detail: Mapped[dict[str, Any]]
    recorded_at: Mapped[datetime]
    prev_id: Mapped[int | None] = mapped_column(BigId)
    depth: Mapped[int]
    run_first_step: Mapped[int]
    run_length: Mapped[int]
    run_prev_id: Mapped[int | None] = mapped_column(BigId)


class CheckpointTable(Base):
    """LangGraph's checkpoints, one row each: where a session's graph resumes. A thread's id is its session's.

    `checkpoint` is serialized whole, as `type` says; the state in it is small, as images are references.
    """

    __tablename__ = "checkpoints"

    session_id: Mapped[str] = mapped_column(ForeignKey("sessions.id"), primary_key=True)
    checkpoint_ns: Mapped[str] = mapped_column(primary_key=True)
    checkpoint_id: Mapped[str] = mapped_column(primary_key=True)
    parent_checkpoint_id: Mapped[str | None]
    type: Mapped[str]
    checkpoint: Mapped[bytes] = mapped_column(LargeBinary)
    about: Mapped[dict[str, Any]] = mapped_column("metadata")


class CheckpointWriteTable(Base):
    """What the tasks of a graph have written since a checkpoint, so that a resumed graph does not run them again."""

    __tablename__ = "checkpoint_writes"

    session_id: Mapped[str] = mapped_column(ForeignKey("sessions.id"), primary_key=True)
    checkpoint_ns: Mapped[str] = mapped_column(primary_key=True)
    checkpoint_id: Mapped[str] = mapped_column(primary_key=True)
    task_id: Mapped[str] = mapped_column(primary_key=True)
    idx: Mapped[int] = mapped_column(primary_key=True)
    task_path: Mapped[str]
    channel: Mapped[str]
    type: Mapped[str]
    value: Mapped[bytes] = mapped_column(LargeBinary)
