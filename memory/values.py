"""What both databases can hold: checks on text from people and on JSON from code."""

import json
from typing import Any

from loopwright.errors import BadInput, DeveloperError
from loopwright.schema import canonical_json

LAST = "last"
"""Names the newest session where a person may name one."""

STALE_S = 10.0
"""A lease whose last beat is older than this has run out, s."""

MAX_TEXT = 2000
"""Characters of one message; longer ones are refused rather than cut."""


def stop_text(text: str) -> str:
    """A STOP's text as it is kept: what cannot be kept of it is left out."""
    return text.replace("\0", "").encode(errors="replace").decode()[:MAX_TEXT].strip() or "STOP"


def check_text(name: str, value: str, *, max_length: int) -> str:
    """`value` where both databases can hold it: not empty, not too long, no NUL, proper Unicode.

    Raises:
        BadInput: naming what is wrong with it.
    """
    if not value.strip() or len(value) > max_length or "\0" in value:
        raise BadInput(f"`{name}` = {value[:80]!r} must have 1 to {max_length} characters, and no NUL.")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise BadInput(f"`{name}` = {value[:80]!r} is not proper Unicode: {error.reason}. Send UTF-8.") from error
    return value


def plain_json(what: str, value: dict[str, Any]) -> dict[str, Any]:
    """`value` as it will be read back: tuples are lists and keys are strings, so that its hash is the same then.

    Raises:
        DeveloperError: it is not JSON; NaN, infinities and lone surrogates are not.
    """
    try:
        text = canonical_json(value)
        text.encode()
        plain: dict[str, Any] = json.loads(text)
    except (TypeError, ValueError) as error:
        raise DeveloperError(f"{what} is not JSON: {error}. Pass plain JSON; images as `ImageRef`.") from error
    return plain
