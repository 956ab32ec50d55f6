"""Durable memory in SQL: sessions, events, blobs, inbox, ledger, recall and checkpoints, behind `open_memory(url)`.

The names below are imported when they are first used, as `loopwright.memory.direct` does without SQLAlchemy.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from loopwright.memory.lease import Lease
    from loopwright.memory.open import Memory, open_memory
    from loopwright.memory.rows import (
        Approver,
        Change,
        LabelRun,
        LedgerEntry,
        NearHistory,
        Pruned,
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
    "Pruned",
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

_HOMES = {"Lease": "lease", "Memory": "open", "open_memory": "open"}
"""The modules of names that are not in `rows`."""


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES.get(name, 'rows')}"), name)
    globals()[name] = value
    return value
