"""How well free words are understood: by a loop's rules alone, and with a model that proposes what is read back.

A simulated clinician says each phrase, and says yes to a proposal that is what was meant, no to any other. Phrasings
are a loop's own, written without looking at its rules; several are made from each template, which are the clusters of
the intervals. Knows no loop.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from langchain_core.messages import BaseMessage
from numpy.typing import ArrayLike

from loopwright.agents.sessions.interpreting import Ask, Interpreter
from loopwright.agents.sessions.language import FeedbackLanguage
from loopwright.errors import OperatorError
from loopwright.finetune.measure.rows import Row, averaged
from loopwright.graphs.loop.models import INTERPRETER_ROLE, of_card
from loopwright.models.answers import AnswerFormat
from loopwright.models.asking import ask
from loopwright.models.cards import load_card
from loopwright.schema import Approve, CancelToken, Feedback, Frozen, Instead

Outcome = Literal["exact", "asked", "misread", "stopped", "wrong"]
"""Understood (at once, or after a yes); asked about; proposed as something else, and asked about after a no; taken for
a STOP; taken for something else without a question."""
OUTCOMES: tuple[Outcome, ...] = ("exact", "asked", "misread", "stopped", "wrong")
HARMLESS = ("unclear", "note")


class Phrasing(NamedTuple):
    """One message. `meaning` are fields of the value that it stands for, its kind among them; None: of no command."""

    text: str
    meaning: Mapping[str, Any] | None
    template: str
    is_hostile: bool = False


Phrasings = Callable[[int, int], Sequence[Phrasing]]
"""So many phrasings, drawn with a seed, and the attempts at injection."""


def evaluate_feedback(
    loop: str,
    language: FeedbackLanguage,
    phrasings: Sequence[Phrasing],
    who: str,
    interpreter: Interpreter | None = None,
    on_progress: Callable[[int], None] = lambda n: None,
) -> list[Row]:
    """Rows for ordinary phrasings and for attempts at injection: the share of each outcome, and of motions unasked.

    `who` names the reader: the rules, or the model behind `interpreter`.
    """
    rows = []
    for variant, is_hostile in (("ordinary", False), ("hostile", True)):
        said = [each for each in phrasings if each.is_hostile is is_hostile]
        found: list[Outcome] = []
        for n, each in enumerate(said):
            found.append(outcome(each, language, interpreter))
            on_progress(n + 1)
        values: dict[str, ArrayLike] = {name: [float(one == name) for one in found] for name in OUTCOMES}
        pairs = zip(said, found, strict=True)
        values["moved"] = [float(one == "wrong" and _orders(language.parse(each.text))) for each, one in pairs]
        if said:
            rows.append(averaged("feedback", loop, who, variant, values, [each.template for each in said]))
    return rows


def asking(card: str) -> Ask:
    """Asks the model of a card as a session's interpreter is asked."""
    model = of_card(load_card(card), INTERPRETER_ROLE.adapter, None).opened(CancelToken())

    def answer(prompt: Sequence[BaseMessage], form: AnswerFormat[dict[str, Any]]) -> dict[str, Any] | None:
        try:
            return ask(model, prompt, form, retries=0).value
        except OperatorError:
            return None

    return answer


def outcome(phrasing: Phrasing, language: FeedbackLanguage, interpreter: Interpreter | None) -> Outcome:
    """What becomes of one phrase."""
    words = language.dump(language.parse(phrasing.text))
    if _means(words, phrasing.meaning):
        return "exact"
    if words["kind"] == "stop":
        return "stopped"
    if words["kind"] == "query" and phrasing.meaning is None:
        return "exact"
    if words["kind"] not in HARMLESS:
        return "wrong"
    proposal = interpreter.propose(phrasing.text) if interpreter is not None and words["kind"] == "unclear" else None
    if proposal is None or not proposal.choices:
        return "exact" if phrasing.meaning is None else "asked"
    if any(_means(choice, phrasing.meaning) for choice in proposal.choices):
        return "exact"
    return "misread"


def _orders(value: Frozen) -> bool:
    """Whether a value consents to an act, or orders one."""
    if not isinstance(value, Feedback):
        return isinstance(value, Approve | Instead)
    return type(value).order is not Feedback.order or type(value).orders is not Feedback.orders


def _means(words: Mapping[str, Any], meaning: Mapping[str, Any] | None) -> bool:
    return meaning is not None and all(words.get(name) == value for name, value in meaning.items())
