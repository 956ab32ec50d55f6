"""What the memory gives back: frozen values, never live rows. Times are timezone-aware UTC."""

from datetime import datetime
from typing import Any, Literal

from loopwright.errors import BadInput
from loopwright.schema import Act, Frozen, Outcome

SessionStatus = Literal["created", "running", "waiting", "paused", "stopped", "succeeded", "failed", "not_found"]
LedgerStatus = Literal["intended", "authorised", "settled", "refused"]
Approver = Literal["guard", "human"]


class SessionRow(Frozen):
    """One session. `parent` names the session that it was forked from; `seal_hash` is the head of its whole record."""

    id: str
    loop: str
    config: dict[str, Any]
    parent: str | None
    status: SessionStatus
    created_at: datetime
    updated_at: datetime
    n_events: int
    head_hash: str
    token: int
    n_seals: int
    seal_hash: str

    @property
    def has_ended(self) -> bool:
        """Whether the loop has come to its end; such a session can only be rewound."""
        return self.status in ("succeeded", "failed", "not_found")

    def require_going_on(self) -> None:
        """Check that there is something left to run, to say or to stop.

        Raises:
            BadInput: it has ended.
        """
        if self.has_ended:
            raise BadInput(
                f"Session {self.id} has ended, it has {self.status}: it runs and hears nothing any more. Rewind it "
                f"(`loopwright sessions rewind {self.id} STEP`) or start a new one."
            )


class Seal(Frozen):
    """What one transaction of a session wrote, as a link of a hash chain: see `loopwright.memory.sealing`."""

    n: int
    changes: str
    prev_hash: str
    hash: str


class Change(Frozen):
    """One thing that is not as it was written; `row` is its key as JSON, without a column it is the whole row."""

    table: str
    row: str
    column: str = ""
    what: str

    def __str__(self) -> str:
        column = f", column `{self.column}`" if self.column else ""
        return f"`{self.table}` row {self.row}{column}: {self.what}"


class Verification(Frozen):
    """Whether a session's record is as it was written: `n` events, and `n_rows` rows of other tables, were checked.

    `changes` names all that was found, `reason` the first of it, `broken_seq` the first event that is not as written.
    `head` is the hash to keep elsewhere: of the newest seal.
    """

    ok: bool
    n: int
    broken_seq: int | None = None
    reason: str = ""
    n_rows: int = 0
    head: str = ""
    changes: tuple[Change, ...] = ()


class LedgerEntry(Frozen):
    """One actuation. `outcome` is there once it is settled, `reason` once it is refused.

    Once authorised: who said yes and when, and the token of the lease under which it is sent. `world_sha256` is a
    digest of the world as the act left it.
    """

    key: str
    session_id: str
    step: int
    act: Act
    command_sha256: str
    status: LedgerStatus
    approved_by: Approver | None
    approved_at: datetime | None
    token: int | None
    outcome: Outcome | None
    world_sha256: str | None
    reason: str
    intended_at: datetime
    authorised_at: datetime | None
    closed_at: datetime | None


class StepRow(Frozen):
    """One perception-action round. `signature` says what kind of situation it was; equal ones are alike."""

    session_id: str
    branch: int
    step: int
    loop: str
    label: str
    signature: str
    detail: dict[str, Any]
    recorded_at: datetime


class LabelRun(Frozen):
    """`n` rounds in a row with the same label."""

    label: str
    first_step: int
    last_step: int
    n: int


class NearHistory(Frozen):
    """The past as a prompt can hold it, oldest first: the last rounds whole, what came before as runs of labels.

    `n_omitted` rounds at the very beginning are in neither (0 unless a session has very many runs).
    """

    steps: tuple[StepRow, ...]
    earlier: tuple[LabelRun, ...]
    n_omitted: int


class TimelineRow(Frozen):
    """One event without its payload, and the label of its step where one was recorded."""

    seq: int
    branch: int
    step: int
    kind: str
    label: str | None
    created_at: datetime


class SessionSize(Frozen):
    """What one session holds. Blobs shared with other sessions are counted in each."""

    session_id: str
    loop: str
    status: SessionStatus
    created_at: datetime
    n_events: int
    event_bytes: int
    n_blobs: int
    blob_bytes: int


class Pruned(Frozen):
    """What a prune removed, and how much smaller the database is on disk."""

    removed: SessionSize
    freed_bytes: int


class SizeReport(Frozen):
    """What the database holds; `total_bytes` is what it takes on disk, free pages included."""

    total_bytes: int
    n_blobs: int
    blob_bytes: int
    sessions: tuple[SessionSize, ...]
