"""Values: frozen pydantic models, and the one canonical JSON whose SHA-256 names a value."""

import hashlib
import json
from typing import Any

from pydantic import BaseModel, ConfigDict


class Frozen(BaseModel):
    """Base of every value that crosses a layer: immutable, and unknown fields are an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


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
