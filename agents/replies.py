"""What a recorded reply of a model says to a person: its text without mark-up, and what was wrong with its format."""

import re
import textwrap
from collections.abc import Mapping
from typing import Any

_SHOWN_CHARS = 400


def reply_text(consulted: Mapping[str, Any]) -> str:
    """The model's answer in a `consulted` event's payload, as running text."""
    words = " ".join(re.sub(r"<[^<>]*>|```\w*", " ", consulted["reply"]).split())
    return textwrap.shorten(words, _SHOWN_CHARS, placeholder=" ...")


def reply_flaws(consulted: Mapping[str, Any]) -> str:
    """ "repaired", "after 3 attempts", both, or "" for an answer that was in its form at once."""
    parts = [] if consulted["is_strict"] else ["repaired"]
    parts += [f"after {consulted['attempts']} attempts"] if consulted["attempts"] > 1 else []
    return ", ".join(parts)
