"""Plain text in answers: what decoding may write where words are free, and how free words are made plain."""

import re

_CHARS = "A-Za-z0-9 ,.;:'()-"


def plain_pattern(n_chars: int) -> str:
    """The pattern of plain text: a letter or digit first, no mark-up, at most `n_chars`."""
    return f"[A-Za-z0-9][{_CHARS}]{{0,{n_chars - 1}}}"


def plainly(text: str, n_chars: int) -> str:
    """`text` without what plain text does not hold, cut at a word's end where it is too long."""
    words = re.sub(f"[^{_CHARS}]+", " ", text).split()
    while len(plain := " ".join(words).lstrip(" ,.;:'()-")) > n_chars:
        words = words[:-1] if len(words) > 1 else [words[0][:n_chars]]
    return plain
