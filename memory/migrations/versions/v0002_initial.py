"""Sessions, seals, events, blobs, inbox, ledger, steps and checkpoints."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = None

UTC = sa.DateTime(timezone=True)
BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

UNIQUE_IN = {"events": "(seq = NEW.seq OR key = NEW.key)", "seals": "n = NEW.n"}
"""The tables that are append-only, and what a row that replaces another has in common with it."""


def _sqlite_triggers(table: str) -> tuple[str, ...]:
    """The database itself refuses to change the log, whatever program asks."""
    refuse = f"BEGIN SELECT RAISE(ABORT, '{table} are append-only'); END"
    return (
        f"CREATE TRIGGER {table}_no_update BEFORE UPDATE ON {table} {refuse}",
        f"""CREATE TRIGGER {table}_no_delete BEFORE DELETE ON {table}
            WHEN EXISTS (SELECT 1 FROM sessions WHERE id = OLD.session_id AND NOT is_pruning) {refuse}""",
        # INSERT OR REPLACE deletes without firing the trigger above
        f"""CREATE TRIGGER {table}_no_replace BEFORE INSERT ON {table}
            WHEN EXISTS (SELECT 1 FROM {table} WHERE session_id = NEW.session_id AND {UNIQUE_IN[table]}) {refuse}""",
    )


POSTGRES_FUNCTIONS = (
    """CREATE FUNCTION loopwright_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION '% are append-only', TG_TABLE_NAME USING ERRCODE = 'integrity_constraint_violation';
        END $$""",
    """CREATE FUNCTION loopwright_refuse_unless_pruning() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF EXISTS (SELECT 1 FROM sessions WHERE id = OLD.session_id AND NOT is_pruning) THEN
                RAISE EXCEPTION '% are append-only', TG_TABLE_NAME USING ERRCODE = 'integrity_constraint_violation';
            END IF;
            RETURN OLD;
        END $$""",
)


def _postgres_triggers(table: str) -> tuple[str, ...]:
    return (
        f"CREATE TRIGGER {table}_no_update BEFORE UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION loopwright_refuse()",
        f"CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table} EXECUTE FUNCTION loopwright_refuse()",
        f"""CREATE TRIGGER {table}_no_delete BEFORE DELETE ON {table}
            FOR EACH ROW EXECUTE FUNCTION loopwright_refuse_unless_pruning()""",
    )


def upgrade() -> None:
    """From an empty database."""
    _sessions()
    _seals()
    _events()
    _blobs()
    _inbox()
    _ledger()
    _steps()
    _checkpoints()
    is_sqlite = op.get_bind().dialect.name == "sqlite"
    for function in () if is_sqlite else POSTGRES_FUNCTIONS:
        op.execute(function)
    for table in UNIQUE_IN:
        for trigger in _sqlite_triggers(table) if is_sqlite else _postgres_triggers(table):
            op.execute(trigger)


def _sessions() -> None:
    op.create_table(
        "sessions",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("loop", sa.Text(), nullable=False),
        sa.Column("config", sa.Text(), nullable=False),
        sa.Column("parent", sa.Text(), nullable=True),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("created_at", UTC, nullable=False),
        sa.Column("updated_at", UTC, nullable=False),
        sa.Column("n_events", sa.Integer(), nullable=False),
        sa.Column("head_hash", sa.Text(), nullable=False),
        sa.Column("token", sa.Integer(), nullable=False),
        sa.Column("is_pruning", sa.Boolean(), nullable=False),
        sa.Column("n_seals", sa.Integer(), nullable=False),
        sa.Column("seal_hash", sa.Text(), nullable=False),
        sa.CheckConstraint(
            "status IN ('created', 'running', 'waiting', 'paused', 'stopped', 'succeeded', 'failed', 'not_found')",
            name="ck_sessions_status",
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_sessions_created_at", "sessions", ["created_at"])
    op.create_table(
        "leases",
        sa.Column("session_id", sa.Text(), nullable=False),
        sa.Column("token", sa.Integer(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("pid_started_at", UTC, nullable=False),
        sa.Column("heartbeat_at", UTC, nullable=False),
        sa.ForeignKeyConstraint(["session_id"], ["sessions.id"]),
        sa.PrimaryKeyConstraint("session_id"),
    )


def _seals() -> None:
    op.create_table(
        "seals",
        sa.Column("session_id", sa.Text(), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("changes", sa.Text(), nullable=False),
        sa.Column("prev_hash", sa.Text(), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["session_id"], ["sessions.id"]),
        sa.PrimaryKeyConstraint("session_id", "n"),
    )


def _events() -> None:
    op.create_table(
        "events",
        sa.Column("session_id", sa.Text(), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("branch", sa.Integer(), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=True),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.Column("created_at", UTC, nullable=False),
        sa.Column("prev_hash", sa.Text(), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["session_id"], ["sessions.id"]),
        sa.PrimaryKeyConstraint("session_id", "seq"),
        sa.UniqueConstraint("session_id", "key", name="uq_events_session_id_key"),
    )


def _blobs() -> None:
    op.create_table(
        "blobs",
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("media_type", sa.Text(), nullable=False),
        sa.Column("width_px", sa.Integer(), nullable=False),
        sa.Column("height_px", sa.Integer(), nullable=False),
        sa.Column("n_bytes", sa.Integer(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("sha256"),
    )
    op.create_table(
        "blob_refs",
        sa.Column("session_id", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["session_id"], ["sessions.id"]),
        sa.ForeignKeyConstraint(["sha256"], ["blobs.sha256"]),
        sa.PrimaryKeyConstraint("session_id", "sha256"),
    )
    op.create_index("ix_blob_refs_sha256", "blob_refs", ["sha256"])


def _inbox() -> None:
    op.create_table(
        "messages",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("session_id", sa.Text(), nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("is_stop", sa.Boolean(), nullable=False),
        sa.Column("received_at", UTC, nullable=False),
        sa.Column("parsed", sa.Text(), nullable=True),
        sa.Column("read_at_step", sa.Integer(), nullable=True),
        sa.Column("cleared_at", UTC, nullable=True),
        sa.ForeignKeyConstraint(["session_id"], ["sessions.id"]),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "ix_messages_active_stop",
        "messages",
        ["session_id"],
        sqlite_where=sa.text("is_stop AND cleared_at IS NULL"),
        postgresql_where=sa.text("is_stop AND cleared_at IS NULL"),
    )
    op.create_index("ix_messages_session_id_read_at_step", "messages", ["session_id", "read_at_step", "id"])


def _ledger() -> None:
    op.create_table(
        "acts",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("session_id", sa.Text(), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("act", sa.Text(), nullable=False),
        sa.Column("command_sha256", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("approved_by", sa.Text(), nullable=True),
        sa.Column("approved_at", UTC, nullable=True),
        sa.Column("token", sa.Integer(), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.Column("world_sha256", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("intended_at", UTC, nullable=False),
        sa.Column("authorised_at", UTC, nullable=True),
        sa.Column("closed_at", UTC, nullable=True),
        sa.CheckConstraint("(status = 'settled') = (outcome IS NOT NULL)", name="ck_acts_settled_has_outcome"),
        sa.CheckConstraint("status IN ('intended', 'authorised', 'settled', 'refused')", name="ck_acts_status"),
        sa.CheckConstraint(
            "status IN ('intended', 'refused') "
            "OR approved_by IS NOT NULL AND approved_at IS NOT NULL AND token IS NOT NULL",
            name="ck_acts_approved",
        ),
        sa.ForeignKeyConstraint(["session_id"], ["sessions.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("key", name="uq_acts_key"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_acts_session_id", "acts", ["session_id", "id"])
    op.create_index(
        "ix_acts_unsettled",
        "acts",
        ["session_id", "id"],
        sqlite_where=sa.text("status IN ('intended', 'authorised')"),
        postgresql_where=sa.text("status IN ('intended', 'authorised')"),
    )


def _steps() -> None:
    op.create_table(
        "steps",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("session_id", sa.Text(), nullable=False),
        sa.Column("branch", sa.Integer(), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("loop", sa.Text(), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("signature", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("recorded_at", UTC, nullable=False),
        sa.Column("prev_id", BIG_ID, nullable=True),
        sa.Column("depth", sa.Integer(), nullable=False),
        sa.Column("run_first_step", sa.Integer(), nullable=False),
        sa.Column("run_length", sa.Integer(), nullable=False),
        sa.Column("run_prev_id", BIG_ID, nullable=True),
        sa.ForeignKeyConstraint(["session_id"], ["sessions.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("session_id", "step", "branch", name="uq_steps_session_id_step_branch"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_steps_loop_signature", "steps", ["loop", "signature", "id"])
    op.create_index("ix_steps_session_id", "steps", ["session_id", "id"])


def _checkpoints() -> None:
    op.create_table(
        "checkpoints",
        sa.Column("session_id", sa.Text(), nullable=False),
        sa.Column("checkpoint_ns", sa.Text(), nullable=False),
        sa.Column("checkpoint_id", sa.Text(), nullable=False),
        sa.Column("parent_checkpoint_id", sa.Text(), nullable=True),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("checkpoint", sa.LargeBinary(), nullable=False),
        sa.Column("metadata", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["session_id"], ["sessions.id"]),
        sa.PrimaryKeyConstraint("session_id", "checkpoint_ns", "checkpoint_id"),
    )
    op.create_table(
        "checkpoint_writes",
        sa.Column("session_id", sa.Text(), nullable=False),
        sa.Column("checkpoint_ns", sa.Text(), nullable=False),
        sa.Column("checkpoint_id", sa.Text(), nullable=False),
        sa.Column("task_id", sa.Text(), nullable=False),
        sa.Column("idx", sa.Integer(), nullable=False),
        sa.Column("task_path", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["session_id"], ["sessions.id"]),
        sa.PrimaryKeyConstraint("session_id", "checkpoint_ns", "checkpoint_id", "task_id", "idx"),
    )
