"""JSON that somebody else wrote: whatever is wrong with it is one kind of error."""

import json
from collections.abc import Callable
from typing import Any


def parse_json(text: str | bytes, *, parse_constant: Callable[[str], Any] | None = None) -> Any:
    """The value of a JSON text; `parse_constant` is given NaN and the infinities, which JSON does not have.

    Raises:
        json.JSONDecodeError: no JSON, or nested deeper than Python can follow.
        UnicodeDecodeError: bytes that are no text.
    """
    try:
        return json.loads(text, parse_constant=parse_constant)
    except RecursionError:
        shown = text if isinstance(text, str) else ""
        raise json.JSONDecodeError("nested too deep", shown, 0) from None
