"""Recorded replies of a served model, played back without it.

One JSON line a call: the request, the canonical hash of the request that finds it, and the reply chunk by chunk. A
request refers to its pictures by their hashes, so a cassette holds no pixels. Knows no model and no endpoint.
"""

import json
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any, Literal

from loopwright.errors import BadInput, IntegrityError
from loopwright.schema import canonical_json, sha256_of

Request = Mapping[str, Any]
Reply = list[dict[str, Any]]
SHOWN = 3
"""How many differences a miss names."""
AROUND = 30
"""Characters shown to either side of where two texts part."""


class Cassette:
    """Records into a new file, or plays one back. Thread-safe; may be shared by several models.

    A request that was made several times is answered with its recorded replies in turn.

    Raises:
        BadInput: the file to record into exists, or the one to play does not.
        IntegrityError: a line is no recording, or was changed.
    """

    def __init__(self, path: Path, mode: Literal["record", "replay"]) -> None:
        self.path, self.mode = path, mode
        self._lock = threading.Lock()
        self._played: Counter[str] = Counter()
        self._replies: defaultdict[str, list[Reply]] = defaultdict(list)
        self._requests: dict[str, Request] = {}
        if mode == "record":
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                path.touch(exist_ok=False)
            except FileExistsError:
                raise BadInput(f"The cassette `{path}` exists. Replay it, or delete it to record it anew.") from None
        else:
            self._load()

    def keep(self, request: Request, reply: Sequence[Mapping[str, Any]]) -> None:
        """Record one call."""
        line = canonical_json({"key": sha256_of(request), "request": request, "reply": list(reply)})
        with self._lock, self.path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    def play(self, request: Request) -> Reply:
        """The recorded reply to `request`.

        Raises:
            BadInput: there is none, or none is left; the message names what differs from the nearest recorded request.
        """
        key = sha256_of(request)
        with self._lock:
            replies, turn = self._replies.get(key, []), self._played[key]
            if turn < len(replies):
                self._played[key] += 1
                return replies[turn]
        if replies:
            raise BadInput(
                f"The cassette `{self.path}` holds {len(replies)} replies to this request, and all were played. "
                "The replay makes it more often than the recording did; record it anew."
            )
        raise BadInput(f"The cassette `{self.path}` holds no reply to this request. {self._nearest(request)}")

    def _load(self) -> None:
        try:
            text = self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            raise BadInput(f"There is no cassette `{self.path}`. Record it first.") from None
        for number, line in enumerate(text.removesuffix("\n").split("\n") if text else [], start=1):
            where = f"Line {number} of the cassette `{self.path}`"
            try:
                entry = json.loads(line)
                key, request, reply = entry["key"], entry["request"], entry["reply"]
            except (ValueError, KeyError, TypeError) as error:
                raise IntegrityError(f"{where} is no recording ({error}). Delete the line.") from error
            if key != sha256_of(request):
                raise IntegrityError(f"{where} was changed: its request has not the hash {key!r}. Record it anew.")
            self._requests[key] = request
            self._replies[key].append(reply)

    def _nearest(self, request: Request) -> str:
        if not self._requests:
            return "It is empty."
        matcher = SequenceMatcher(b=canonical_json(request), autojunk=False)

        def likeness(recorded: Request) -> float:
            matcher.set_seq1(canonical_json(recorded))
            return matcher.quick_ratio()

        nearest = max(self._requests.values(), key=likeness)
        differing = _differences(dict(_leaves(nearest)), dict(_leaves(request)))
        more = f", and {len(differing) - SHOWN} more" if len(differing) > SHOWN else ""
        return (
            f"The nearest of {len(self._requests)} recorded requests differs in {'; '.join(differing[:SHOWN])}{more}."
        )


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted paths and plain values of a JSON value; an empty list or object is a leaf."""
    if isinstance(value, Mapping | list) and value:
        for key, inner in value.items() if isinstance(value, Mapping) else enumerate(value):
            yield from _leaves(inner, f"{path}.{key}" if path else str(key))
    else:
        yield path, value


def _differences(recorded: dict[str, Any], asked: dict[str, Any]) -> list[str]:
    """One phrase for each path at which the two differ."""
    missing = object()
    phrases = []
    for path in sorted(recorded.keys() | asked.keys()):
        was, now = recorded.get(path, missing), asked.get(path, missing)
        if was is missing:
            phrases.append(f"`{path}`: asked {_excerpt(now)}, which was not recorded")
        elif now is missing:
            phrases.append(f"`{path}`: recorded {_excerpt(was)}, which was not asked")
        elif was != now:
            parting = _parting(was, now) if isinstance(was, str) and isinstance(now, str) else 0
            phrases.append(f"`{path}`: recorded {_excerpt(was, parting)}, asked {_excerpt(now, parting)}")
    return phrases


def _parting(was: str, now: str) -> int:
    """Index of the first character at which two texts differ."""
    return next((i for i, (a, b) in enumerate(zip(was, now, strict=False)) if a != b), min(len(was), len(now)))


def _excerpt(value: Any, around: int = 0) -> str:
    """`value` as it is written, a long text cut to what lies around that index."""
    if not isinstance(value, str):
        return repr(value)
    begin, end = max(around - AROUND, 0), around + AROUND
    return f"{'...' if begin else ''}{value[begin:end]!r}{'...' if end < len(value) else ''}"
