"""Plain text in answers: what decoding may write where words are free, and how free words are made plain."""

import re

_CHARS = "A-Za-z0-9 ,.;:'()-"
_NOT_FIRST = " ,.;:'()-"


def plain_pattern(n_chars: int) -> str:
    """The pattern of plain text: a letter or digit first, no mark-up, at most `n_chars`."""
    return f"[A-Za-z0-9][{_CHARS}]{{0,{n_chars - 1}}}"


def plainly(text: str, n_chars: int) -> str:
    """`text` without what plain text does not hold, cut at a word's end where it is too long."""
    plain = " ".join(re.sub(f"[^{_CHARS}]+", " ", text).split())
    n_skipped = len(plain) - len(plain.lstrip(_NOT_FIRST))
    if len(plain) - n_skipped > n_chars:
        end = plain.rfind(" ", 0, n_skipped + n_chars + 1)
        plain = plain[:end] if end > 0 else plain.partition(" ")[0][:n_chars]
    return plain.lstrip(_NOT_FIRST)
