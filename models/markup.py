"""Finds what matters in what a model wrote: inside a Markdown fence, between tags, from brace to brace.

Each function takes time in proportion to the text's length, whatever stands there.
"""

import json
import re

OBJECTS_TRIED = 64
"""So many braces at most are taken for the beginning of a JSON object."""
_JSON = json.JSONDecoder(strict=False)
_LANGUAGE = re.compile(r"\s*[A-Za-z]+\s*(?=[\[{<])")
_THOUGHTS_END = re.compile(r"</think(?:ing)?>", re.IGNORECASE)
_THOUGHTS_BEGIN = re.compile(r"<think(?:ing)?>", re.IGNORECASE)


def without_thoughts(text: str) -> str:
    """What follows the last `<think>` block, or all of `text` where there is none; of one that is not closed, nothing.

    Some chat templates open the block in the prompt, so that a reply holds its end alone.
    """
    ends = [mark.end() for mark in _THOUGHTS_END.finditer(text)]
    said = text[ends[-1] :] if ends else text
    unclosed = _THOUGHTS_BEGIN.search(said)
    return said[: unclosed.start()] if unclosed else said


def without_fences(text: str) -> str:
    """What stands inside the first Markdown fence, or all of `text` where there is none; no white space around."""
    return next(iter(_fenced(text)), text).strip()


def _fenced(text: str) -> list[str]:
    """What stands inside each closed fence, without the language that is named there."""
    parts = text.split("```")
    return [_without_language(inside) for inside in parts[1 : len(parts) - 1 : 2]]


def _without_language(inside: str) -> str:
    first, newline, rest = inside.partition("\n")
    if newline:
        return rest if first.strip().isalpha() else inside
    named = _LANGUAGE.match(inside)
    return inside[named.end() :] if named else inside


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
    """The JSON object in `text`: in a fence, or amid prose; where none or several can be read, from brace to brace.

    Raises:
        ValueError: there is no JSON object.
    """
    fenced = [inside for inside in _fenced(text) if "{" in inside]
    where = fenced[0] if len(fenced) == 1 else text
    found = _objects(where)
    if len(found) == 1:
        return found[0]
    begin, end = where.find("{"), where.rfind("}")
    if not 0 <= begin < end:
        raise ValueError("there is no JSON object")
    return where[begin : end + 1]


def _objects(text: str) -> list[str]:
    """Each JSON object in `text` that is not inside another one, as it stands there."""
    found: list[str] = []
    at = text.find("{")
    for _ in range(OBJECTS_TRIED):
        if at < 0:
            break
        try:
            _, end = _JSON.raw_decode(text, at)
        except (ValueError, RecursionError):
            end = _closed(text, at)  # what stands inside is no answer of its own
        else:
            found.append(text[at:end])
        at = text.find("{", end)
    return found


def _closed(text: str, begin: int) -> int:
    """Behind the brace that closes the one at `begin`, whatever stands between; the end where there is none."""
    depth = 0
    for brace in re.finditer(r"[{}]", text[begin:]):
        depth += 1 if brace[0] == "{" else -1
        if depth == 0:
            return begin + brace.end()
    return len(text)
