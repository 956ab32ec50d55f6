"""Durable memory in SQL: sessions, events, blobs, inbox, ledger, recall and checkpoints, behind `open_memory(url)`."""

from loopwright.memory.lease import Lease
from loopwright.memory.open import Memory, open_memory
from loopwright.memory.rows import (
    Approver,
    Change,
    LabelRun,
    LedgerEntry,
    NearHistory,
    Seal,
    SessionRow,
    SessionSize,
    SessionStatus,
    SizeReport,
    StepRow,
    TimelineRow,
    Verification,
)

__all__ = [
    "Approver",
    "Change",
    "LabelRun",
    "Lease",
    "LedgerEntry",
    "Memory",
    "NearHistory",
    "Seal",
    "SessionRow",
    "SessionSize",
    "SessionStatus",
    "SizeReport",
    "StepRow",
    "TimelineRow",
    "Verification",
    "open_memory",
]
