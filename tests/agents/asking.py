"""An `Asker` over one model object, without a session: for tests of agents that ask."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import numpy as np
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult

from loopwright.agents.asker import Asker
from loopwright.agents.role import choose
from loopwright.models.answers import AnswerFormat
from loopwright.models.asking import ask
from loopwright.schema import ImageRef
from loopwright.tools.pictures import encode_png

T = TypeVar("T")
R = TypeVar("R")


class Answering(BaseChatModel):
    """Answers each question as `answer` does, given the last thing that was asked."""

    answer: Callable[[str], str]

    @property
    def _llm_type(self) -> str:
        return "answering"

    def _generate(self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **_: Any) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=AIMessage(self.answer(messages[-1].text)))])


class Blank:
    """Has a black picture for every reference."""

    def read(self, ref: ImageRef) -> bytes:
        """See `BlobReader`."""
        return encode_png(np.zeros((ref.height_px, ref.width_px), np.uint8))


class ModelAsker:
    """Asks one model in every role. `asked` are the roles of the questions, and the kinds of what else was recorded."""

    def __init__(self, model: BaseChatModel | None = None) -> None:
        self._model = model
        self.asked: list[str] = []

    def ask(self, role: str, prompt: Sequence[BaseMessage], answer: AnswerFormat[T], /, *, may_fail: bool = False) -> T:
        """See `Asker`."""
        self.asked.append(role)
        return ask(self._asked_model, prompt, answer, images=Blank()).value

    def score(
        self, role: str, prompt: Sequence[BaseMessage], choices: Sequence[str], answer: AnswerFormat[str], /
    ) -> dict[str, float]:
        """See `Asker`."""
        self.asked.append(role)
        return choose(self._asked_model, prompt, choices, answer, images=Blank()).probabilities

    def can_score(self, role: str) -> bool:
        """See `Asker`."""
        return hasattr(self._asked_model, "score_choices_of")

    def external(self, kind: str, produce: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """See `Asker`."""
        self.asked.append(kind)
        return produce()

    def map(self, function: Callable[[T, Asker], R], items: Iterable[T]) -> list[R]:
        """See `Asker`."""
        return [function(item, self) for item in items]

    @property
    def _asked_model(self) -> BaseChatModel:
        assert self._model is not None, "nobody was to be asked"
        return self._model
