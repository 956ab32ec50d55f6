"""Characters that come in halves: JSON writes those beyond U+FFFF as two UTF-16 surrogates, and streams cut between."""

_HIGH = ("\ud800", "\udbff")


def whole(text: str) -> str:
    """`text` with pairs of surrogates as one character, and lone ones as U+FFFD, so that it can be encoded."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


class Characters:
    """Text that grows by pieces; the half of a character at a piece's end waits for the next one."""

    def __init__(self) -> None:
        self._half = ""

    def push(self, piece: str, *, is_end: bool = False) -> str:
        """What can be read so far of the text that no call before returned; all of it where this is the end."""
        text = self._half + piece
        self._half = text[-1] if text and not is_end and _HIGH[0] <= text[-1] <= _HIGH[1] else ""
        return whole(text.removesuffix(self._half))
