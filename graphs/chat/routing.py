"""What a sentence in a chat asks for, by rules: no model is needed, and none can be talked into anything."""

import re
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from loopwright.agents.feedback import is_query
from loopwright.graphs.loop.declare import Declaration
from loopwright.schema import Query, Unclear

Intent = Literal["begin", "which", "tell", "ask", "recall", "help", "bye", "unknown"]
_BYE = re.compile(r"(?:good ?)?bye|quit|exit|that is all|we are done|done")
_HELP = re.compile(r"help|(?:what|which) (?:can|could|do) (?:you|i) .*|hello|hi|hey")
_RECALL = re.compile(
    r".*\b(?:last time|earlier|before|yesterday|previous(?:ly)?|remember|recall|ever)\b.*"
    r"|(?:what|which|when) (?:did|have) (?:we|i|you)\b.*"
)
_PAST = re.compile(r"(?:why|when|did|have|has|was|were|what (?:did|was|were|have|has))\b")


class Route(NamedTuple):
    """What to do: `loops` to settings of a run (several: which is meant is asked)."""

    intent: Intent
    loops: Mapping[str, dict[str, Any]] = {}


def is_bye(text: str) -> bool:
    """Whether that ends a chat."""
    return _BYE.fullmatch(_folded(text)) is not None


def route(text: str, loops: Mapping[str, Declaration], current: Declaration | None, *, is_open: bool = False) -> Route:
    """What `text` asks for.

    Args:
        text: as it was typed.
        loops: those that can be begun, by name.
        current: the loop of the session that the chat is about; None: of none.
        is_open: that session has not ended, so that it can be told something.
    """
    said = _folded(text)
    if is_bye(said):
        return Route("bye")
    if _HELP.fullmatch(said):
        return Route("help")
    if _RECALL.fullmatch(said):
        return Route("recall")
    if current is not None and is_open and not isinstance(current.language.parse(text), Unclear | Query):
        return Route("tell")
    asked = {name: found for name, loop in loops.items() if loop.request and (found := loop.request(text)) is not None}
    if current is not None and is_query(text) and (not asked or _PAST.match(said)):
        return Route("ask")
    if not asked:
        return Route("unknown")
    return Route("begin" if len(asked) == 1 else "which", asked)


def _folded(text: str) -> str:
    return " ".join(text.casefold().split()).strip(" .,;:!?")
