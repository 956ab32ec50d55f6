"""Digests: the canonical JSON of a value, and how a session's record commits to every row that is written for it.

Of the standard library alone, so that whoever has to be quick can write to the record without waiting for imports.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

GENESIS = "0" * 64
"""What the first link of a chain follows."""


class Written(NamedTuple):
    """A row that was written: the digests of the columns that were, None: it was removed.

    `key` names the row within its table and session; with the empty key of a table that has keys, None removes all.
    """

    table: str
    key: Sequence[str | int]
    columns: Mapping[str, str] | None


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no white space: equal values give equal text.

    Raises:
        ValueError: for NaN and infinities, which JSON cannot hold.
        TypeError: for anything that is not plain JSON.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def sha256_of(value: Any) -> str:
    """Hex SHA-256 of a JSON value's canonical text."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def digest(value: Any) -> str:
    """128 bits, in hex, of the SHA-256 of what a column holds; equal in every database.

    Args:
        value: None, text, bytes, a number, a truth value, a timezone-aware time, or JSON (kept as canonical text).
    """
    match value:
        case None:
            data = b"-"
        case bytes():
            data = b"b" + value
        case str():
            data = b"s" + value.encode(errors="surrogateescape")
        case datetime():
            data = b"t" + value.astimezone(UTC).isoformat(timespec="microseconds").encode()
        case int() | float():
            data = b"n" + str(+value).encode()
        case _:
            data = b"s" + canonical_json(value).encode()
    return hashlib.sha256(data).hexdigest()[:32]


def digests(columns: Mapping[str, Any]) -> dict[str, str]:
    """The digest of each column."""
    return {name: digest(value) for name, value in columns.items()}


def changes_text(written: Iterable[Written]) -> str:
    """Rows written in one transaction, as a seal keeps them."""
    return canonical_json([[each.table, list(each.key), each.columns] for each in written])


def seal_hash(prev_hash: str, session_id: str, n: int, changes: str) -> str:
    """SHA-256 that links seal number `n` of a session to the one before it."""
    return sha256_of([prev_hash, session_id, n, changes])
