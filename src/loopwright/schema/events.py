"""Events: the truth of a session, one append-only hash chain (rule 2)."""

from datetime import datetime
from typing import Any

from loopwright.digests import sha256_of
from loopwright.schema.base import Frozen


class Event(Frozen):
    """One event of a session. The first follows `GENESIS`; a fork's carries its parent's head hash in its payload.

    `seq` counts from 1. `branch` counts rewinds and `step` perception-action steps, so that (branch, step) names a
    moment. `key`, where given, makes appending idempotent: a node that is re-run finds what it already recorded.
    """

    session_id: str
    seq: int
    branch: int
    step: int
    kind: str
    key: str | None
    payload: dict[str, Any]
    created_at: datetime
    prev_hash: str
    hash: str

    @property
    def payload_hash(self) -> str:
        """SHA-256 of everything that a replay must reproduce: no timestamps, no chain."""
        return payload_hash(self.branch, self.step, self.kind, self.payload)


def payload_hash(branch: int, step: int, kind: str, payload: dict[str, Any]) -> str:
    """SHA-256 of an event's reproducible part."""
    return sha256_of({"branch": branch, "step": step, "kind": kind, "payload": payload})


def chain_hash(prev_hash: str, session_id: str, seq: int, created_at: datetime, body_hash: str, key: str | None) -> str:
    """SHA-256 that links an event to the one before it. `created_at` is timezone-aware UTC."""
    return sha256_of([prev_hash, session_id, seq, created_at.isoformat(timespec="microseconds"), body_hash, key])
