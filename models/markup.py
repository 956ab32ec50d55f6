"""Finds what matters in what a model wrote: inside a Markdown fence, between tags, from brace to brace.

Each function takes time in proportion to the text's length, whatever stands there.
"""

import re
import string


def without_fences(text: str) -> str:
    """What stands inside the first Markdown fence, or all of `text` where there is none; no white space around."""
    _, opening, rest = text.partition("```")
    inside, closing, _ = rest.partition("```")
    return inside.lstrip(string.ascii_letters).strip() if opening and closing else text.strip()


def tag_content(text: str, tag: str) -> str:
    """What stands between `<tag>` and `</tag>`, in any case, white space collapsed.

    Raises:
        ValueError: naming the tag that is missing or stands there twice.
    """
    found: list[str] = []
    begin: int | None = None
    for mark in re.finditer(rf"<(/?){tag}\s*>", text, re.IGNORECASE):
        is_closing = bool(mark[1])
        if begin is None and not is_closing:
            begin = mark.end()
        elif begin is not None and is_closing:
            found.append(text[begin : mark.start()])
            begin = None
    if len(found) != 1:
        raise ValueError(f"`<{tag}>` stands there {len(found)} times, expected once")
    return " ".join(found[0].split())


def json_object(text: str) -> str:
    """From the first brace to the last one.

    Raises:
        ValueError: there is no JSON object.
    """
    begin, end = text.find("{"), text.rfind("}")
    if not 0 <= begin < end:
        raise ValueError("there is no JSON object")
    return text[begin : end + 1]
