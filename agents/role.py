"""A model in a role: one prompt and one answer, and how probable each of a closed set of answers is.

Models whose tokens are drawn here score closed sets in one pass; others are asked and taken at their word. How a reply
is held to its format is `loopwright.models.asking`'s to decide. Knows no loop and writes nothing down.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Generic, NamedTuple, Protocol, TypeVar, runtime_checkable

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage

from loopwright.models.answers import AnswerFormat
from loopwright.models.asking import Reply, ask
from loopwright.models.calling import Usage, usage_of
from loopwright.schema import BlobReader, CancelToken

if TYPE_CHECKING:
    from loopwright.models.scoring import ChoiceScores

__all__ = ["SAID_SHARE", "Choice", "ClosedQuestion", "Reply", "ScoresChoices", "ask", "choose", "choose_each"]

C = TypeVar("C", bound=str)

SAID_SHARE = 0.8
"""How probable a choice is taken to be that a model named which cannot score its choices."""


class ClosedQuestion(NamedTuple, Generic[C]):
    """A prompt, the answers that would do, and the format that says them."""

    messages: Sequence[BaseMessage]
    choices: Sequence[C]
    answer: AnswerFormat[str]


class Choice(NamedTuple):
    """How probable each of a closed set is, and what was said where that is all there is to go by."""

    probabilities: dict[str, float]
    reply: Reply[str] | None
    usage: Usage


@runtime_checkable
class ScoresChoices(Protocol):
    """What a model can do whose tokens are drawn here."""

    def score_choices_of(
        self, prompts: Sequence[Sequence[BaseMessage]], choices: Sequence[str], *, cancel: CancelToken | None = None
    ) -> "ChoiceScores":
        """How probable each of `choices` is as the whole reply to each of `prompts`, (B, C)."""
        ...


def choose(
    model: BaseChatModel,
    messages: Sequence[BaseMessage],
    choices: Sequence[str],
    answer: AnswerFormat[str],
    *,
    cancel: CancelToken | None = None,
    images: BlobReader | None = None,
) -> Choice:
    """How probable the model takes each of `choices` to be: scored, or else asked for one (`SAID_SHARE`).

    Raises:
        OperatorError, Stopped, Paused: as `ask`.
    """
    return next(choose_each(model, [ClosedQuestion(messages, choices, answer)], cancel=cancel, images=images))


def choose_each(
    model: BaseChatModel,
    questions: Sequence[ClosedQuestion[C]],
    *,
    cancel: CancelToken | None = None,
    images: BlobReader | None = None,
) -> Iterator[Choice]:
    """`choose` for each of `questions`: all of them in one batch where the model scores choices.

    Raises:
        OperatorError, Stopped, Paused: as `ask`.
    """
    if isinstance(model, ScoresChoices):
        union = tuple(dict.fromkeys(name for question in questions for name in question.choices))
        scores = model.score_choices_of([question.messages for question in questions], union, cancel=cancel)
        for question, row in zip(questions, scores.probabilities, strict=True):
            odds = row[[union.index(name) for name in question.choices]]
            probabilities: dict[str, float] = dict(zip(question.choices, map(float, odds / odds.sum()), strict=True))
            yield Choice(probabilities, None, usage_of(question.messages, AIMessage("")))
        return
    for messages, choices, answer in questions:
        reply = ask(model, messages, answer, cancel=cancel, images=images)
        rest = (1 - SAID_SHARE) / max(1, len(choices) - 1)
        said: dict[str, float] = {name: SAID_SHARE if name == reply.value else rest for name in choices}
        yield Choice(said, reply, reply.usage)
