"""How an agent role asks a model inside a loop, whatever runs the loop: each answer is on record, and asked for once.

The loop kit's `Context` is one; an evaluation may bring its own.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol, TypeVar

from langchain_core.messages import BaseMessage

from loopwright.models.answers import AnswerFormat

T = TypeVar("T")
R = TypeVar("R")


class Asker(Protocol):
    """One moment's door to the models, by role."""

    def ask(self, role: str, prompt: Sequence[BaseMessage], answer: AnswerFormat[T], /, *, may_fail: bool = False) -> T:
        """The model's answer in `role`, as a value of the format `answer`; `may_fail`: see `Context.ask`."""
        ...

    def score(
        self, role: str, prompt: Sequence[BaseMessage], choices: Sequence[str], answer: AnswerFormat[str], /
    ) -> dict[str, float]:
        """How probable the model in `role` takes each of `choices` to be."""
        ...

    def can_score(self, role: str) -> bool:
        """Whether the model in `role` scores choices itself, and does not only name one."""
        ...

    def external(self, kind: str, produce: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """What something else than a model says of this moment, recorded as an event `kind`."""
        ...

    def map(self, function: "Callable[[T, Asker], R]", items: Iterable[T]) -> list[R]:
        """`function(item, asker)` of each item, all at once."""
        ...
