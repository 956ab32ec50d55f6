"""What a human can say to a loop: the types that every loop understands, and the loop's own, read in order.

Nothing is guessed: what no type reads in full is `Unclear`, with a question. STOP is heard more generously.
"""

from collections.abc import Sequence
from typing import Any

from loopwright.agents import feedback as shared
from loopwright.errors import DeveloperError
from loopwright.schema import Approve, Feedback, Frozen, Instead, Note, Query, Reject, Stop, Unclear, kind_of

SHARED: tuple[type[Frozen], ...] = (Approve, Reject, Instead, Stop, Note, Query, Unclear)


class FeedbackLanguage:
    """The feedback types of one loop."""

    def __init__(self, types: Sequence[type[Feedback]] = ()) -> None:
        self.types = tuple(types)
        self._by_kind: dict[str, type[Frozen]] = {}
        for each in (*SHARED, *self.types):
            if kind_of(each) in self._by_kind:
                raise DeveloperError(f"Two feedback types are called {kind_of(each)!r}. Give one of them another name.")
            self._by_kind[kind_of(each)] = each

    def parse(self, text: str) -> Frozen:
        """`text` as a value of one of the types; never raises."""
        return shared.parse(text, self._read, self.examples)

    @property
    def examples(self) -> str:
        """What can be said, for questions and help texts."""
        own = [f"`{example}`" for each in self.types for example in each.examples]
        return f"You can say: {', '.join(['`stop`', '`approve`', '`reject: REASON`', *own, '`note: TEXT`'])}."

    def dump(self, value: Frozen) -> dict[str, Any]:
        """A value as JSON, its kind among it."""
        return {"kind": kind_of(type(value)), **value.model_dump(mode="json")}

    def load(self, words: dict[str, Any]) -> Frozen:
        """The value that `dump` made `words` of."""
        of = self._by_kind[words["kind"]]
        return of.model_validate({name: value for name, value in words.items() if name in of.model_fields})

    def _read(self, text: str) -> Any:
        return next((found for each in self.types if (found := each.read(text)) is not None), None)
