"""A model in a role: one prompt, one answer in the role's form, every attempt counted.

Local models draw under the form's grammar, so their answers keep to it exactly, and they score closed sets.
Others answer as they like: what means well is repaired, what does not goes back with what was wrong, a few times. Knows
no loop and writes nothing down.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Protocol, TypeVar, runtime_checkable

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage

from loopwright.errors import BadInput, OperatorError
from loopwright.models.forms import Form
from loopwright.schema import CancelToken

if TYPE_CHECKING:
    from loopwright.models.grammar import Grammar
    from loopwright.models.scoring import ChoiceScores

T = TypeVar("T")
C = TypeVar("C", bound=str)

SAID_SHARE = 0.8
"""How probable a choice is taken to be that a model named which cannot score its choices."""


class Reply(NamedTuple, Generic[T]):
    """One answer. `text` is what was said, exactly in the form where `is_strict`; else it was repaired.

    `attempts` counts every time the model was asked.
    """

    value: T
    text: str
    is_strict: bool
    attempts: int


class ClosedQuestion(NamedTuple, Generic[C]):
    """A prompt, the answers that would do, and the form that says them."""

    messages: Sequence[BaseMessage]
    choices: Sequence[C]
    form: Form[str]


class Choice(NamedTuple):
    """How probable each of a closed set is, and what was said where that is all there is to go by."""

    probabilities: dict[str, float]
    reply: Reply[str] | None


@runtime_checkable
class DrawsTokens(Protocol):
    """What a model can do whose tokens are drawn here: keep to a grammar, and score closed sets."""

    def with_form(self, form: Form[Any]) -> Any:
        """Replies that are values of `form`."""
        ...

    def score_choices_of(
        self, prompts: Sequence[Sequence[BaseMessage]], choices: Sequence[str], *, cancel: CancelToken | None = None
    ) -> "ChoiceScores":
        """How probable each of `choices` is as the whole reply to each of `prompts`, (B, C)."""
        ...


def ask(
    model: BaseChatModel,
    messages: Sequence[BaseMessage],
    form: Form[T],
    *,
    cancel: CancelToken | None = None,
    retries: int = 2,
) -> Reply[T]:
    """The model's answer to `messages` as a value of `form`.

    Args:
        model: any chat model; with `cancel`, one whose calls take that keyword, as all of this project's do.
        messages: all that precedes the answer.
        form: what is expected.
        cancel: ends a call within a token.
        retries: how often an answer that cannot be told what it means is asked for again.

    Raises:
        OperatorError: no answer was in the form; the message shows the last.
        Stopped, Paused: `cancel` was set.
    """
    options: dict[str, Any] = {} if cancel is None else {"cancel": cancel}
    if isinstance(model, DrawsTokens):
        text = model.invoke(list(messages), grammar=_grammar(form), **options).text
        return Reply(form.parse(text), text, is_strict=True, attempts=1)
    asked, problem = list(messages), ""
    for attempt in range(1, retries + 2):
        text = model.invoke(asked, **options).text
        try:
            return read(text, form, attempt)
        except BadInput as error:
            problem = str(error)
            asked += [AIMessage(text), HumanMessage(problem)]
    raise OperatorError(
        f"None of {retries + 1} answers was a `{form.name}`. {problem} Ask again later, or take another model."
    )


def read(text: str, form: Form[T], attempts: int) -> Reply[T]:
    """`text` as a value of `form`, strictly or else repaired.

    Raises:
        BadInput: what it means cannot be told.
    """
    try:
        return Reply(form.parse(text), text, is_strict=True, attempts=attempts)
    except BadInput:
        return Reply(form.repair(text), text, is_strict=False, attempts=attempts)


def choose(
    model: BaseChatModel,
    messages: Sequence[BaseMessage],
    choices: Sequence[str],
    form: Form[str],
    *,
    cancel: CancelToken | None = None,
) -> Choice:
    """How probable the model takes each of `choices` to be: scored, or else asked for one in `form` (`SAID_SHARE`).

    Raises:
        OperatorError, Stopped, Paused: as `ask`.
    """
    return next(choose_each(model, [ClosedQuestion(messages, choices, form)], cancel=cancel))


def choose_each(
    model: BaseChatModel, questions: Sequence[ClosedQuestion[C]], *, cancel: CancelToken | None = None
) -> Iterator[Choice]:
    """`choose` for each of `questions`: all of them in one batch where the model's tokens are drawn here.

    Raises:
        OperatorError, Stopped, Paused: as `ask`.
    """
    if isinstance(model, DrawsTokens):
        union = tuple(dict.fromkeys(name for question in questions for name in question.choices))
        scores = model.score_choices_of([question.messages for question in questions], union, cancel=cancel)
        for question, row in zip(questions, scores.probabilities, strict=True):
            odds = row[[union.index(name) for name in question.choices]]
            yield Choice(dict(zip(question.choices, map(float, odds / odds.sum()), strict=True)), None)
        return
    for messages, choices, form in questions:
        reply = ask(model, messages, form, cancel=cancel)
        rest = (1 - SAID_SHARE) / (len(choices) - 1)
        yield Choice({name: SAID_SHARE if name == reply.value else rest for name in choices}, reply)


@lru_cache(maxsize=16)
def _grammar(form: Form[Any]) -> "Grammar":
    return form.grammar()
