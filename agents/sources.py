"""The file, folder or simulated source that a request in plain words names."""

import re

_PATH = re.compile(r"(?<!\S)(?:[\w.~:-]*/\S+|[\w.-]+\.[A-Za-z]\w{1,5}(?:\.gz)?(?::\S+)?)(?=[\s,;!?]|\.?$|\.\s)")


def source_in(text: str, known: re.Pattern[str]) -> str | None:
    """What matches `known`, else whatever looks like a file: it is tried and refused by name, and never replaced."""
    found = known.search(text) or _PATH.search(text)
    return found.group().rstrip(".") if found else None
