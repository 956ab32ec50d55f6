"""Token ids to text while they come: never a torn character, and nothing that may yet turn out to be a mark."""

from collections.abc import Callable, Sequence

_TORN = "\N{REPLACEMENT CHARACTER}"


class TextStream:
    """Grows one text. What `push` and `close` return, put together, is `text` up to the first mark.

    Args:
        decode: all ids to their text; must only ever add to what shorter ids gave, up to torn characters.
        stops: the text ends before the first of these.
        hold_from: nothing is shown from here on, though the text goes on.
    """

    def __init__(
        self, decode: Callable[[list[int]], str], stops: Sequence[str] = (), hold_from: str | None = None
    ) -> None:
        self._decode = decode
        self.has_stops = bool(stops)
        self._stops = stops
        self._marks = (*stops, *([hold_from] if hold_from else []))
        self._ids: list[int] = []
        self._shown = 0
        self.text = ""
        self.stopped = False

    def push(self, *token_ids: int) -> str:
        """What may be shown now, after further tokens."""
        self._ids.extend(token_ids)
        self.text = self._decode(self._ids).rstrip(_TORN)
        cut = _first(self._stops, self.text)
        self.stopped = cut < len(self.text)
        self.text = self.text[:cut]
        end = _first(self._marks, self.text)
        return self._show(end if self.stopped else end - self._perhaps_a_mark(end))

    def close(self) -> str:
        """What was held back and turned out to be plain text."""
        if not self.stopped:
            self.text = self._decode(self._ids)
        return self._show(_first(self._marks, self.text))

    def _perhaps_a_mark(self, end: int) -> int:
        """Length of the longest end of `text[:end]` that a mark begins with."""
        longest = min(end, max((len(mark) for mark in self._marks), default=1) - 1)
        tails = (self.text[end - n : end] for n in range(longest, 0, -1))
        return next((len(tail) for tail in tails if any(mark.startswith(tail) for mark in self._marks)), 0)

    def _show(self, until: int) -> str:
        new = self.text[self._shown : until]
        self._shown += len(new)
        return new


def _first(marks: Sequence[str], text: str) -> int:
    """Where the first of `marks` begins; the end of `text` where there is none."""
    return min((at for mark in marks if (at := text.find(mark)) >= 0), default=len(text))
