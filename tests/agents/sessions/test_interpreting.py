"""What a model makes of free words: read back in the loop's own, with no number that was not said, and asked about."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from langchain_core.messages import BaseMessage

from loopwright.agents.carm.feedback import LANGUAGE as CARM
from loopwright.agents.recipe.feedback import FEEDBACK as RECIPE
from loopwright.agents.sessions.interpreting import Interpreter, chosen
from loopwright.agents.sessions.language import FeedbackLanguage
from loopwright.agents.surgery.feedback import FEEDBACK as SURGERY
from loopwright.errors import BadInput
from loopwright.models.answers import AnswerFormat
from loopwright.schema import Feedback, Note

LANGUAGES = {"carm": CARM, "surgery": FeedbackLanguage(SURGERY), "recipe": FeedbackLanguage(RECIPE)}


def interpreter(language: FeedbackLanguage, answer: dict[str, Any]) -> Interpreter:
    """One whose model answers so, as far as its format lets it."""

    def ask(prompt: Sequence[BaseMessage], form: AnswerFormat[dict[str, Any]]) -> dict[str, Any] | None:
        try:
            return form.parse(json.dumps(answer))
        except BadInput:
            return None

    return Interpreter(language, ask)


def move(direction: str, distance_mm: float) -> dict[str, Any]:
    return {"kind": "move_view", "direction": direction, "distance_mm": distance_mm}


@pytest.mark.parametrize(
    ("text", "answer", "said"),
    [
        ("shove it twenty millimetres to where his liver is", move("right", 20), "I take it: `20 mm right`?"),
        ("2 cm toward the noggin", move("cranial", 20), "I take it: `20 mm cranial`?"),
        (
            "what you show me there is T12, I bet",
            {"kind": "identify", "landmark": "t12"},
            "I take it: `that is the T12`?",
        ),
        ("hop over to the carina", {"kind": "retarget", "landmark": "carina"}, "I take it: `the target is Carina`?"),
        ("over to the left a bit", move("left", 30), "How much: `5 mm left`, `20 mm left` or `50 mm left`?"),
        ("remember that she has a pacemaker", {"kind": "note"}, "Shall I keep that as a note?"),
    ],
)
def test_a_proposal_is_said_in_the_loops_own_words(text: str, answer: dict[str, Any], said: str) -> None:
    proposal = interpreter(CARM, answer).propose(text)
    assert proposal is not None and proposal.question.startswith(said)
    for choice in proposal.choices:
        value = CARM.load(choice)
        assert isinstance(value, Note) or (isinstance(value, Feedback) and CARM.parse(str(value.in_words())) == value)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("shove it 20 mm over", move("left", 30)),
        ("how is the weather", {"kind": "none"}),
        ("shove it 500 mm left or so", move("left", 500)),
        ("shove it 20 mm up", {"kind": "move_view", "direction": "up", "distance_mm": 20}),
        ("x" * 500, move("left", 20)),
    ],
    ids=["another number", "no command", "out of range", "no direction", "too long"],
)
def test_what_cannot_be_meant_is_not_proposed(text: str, answer: dict[str, Any]) -> None:
    assert interpreter(CARM, answer).propose(text) is None


def test_unknown_anatomy_gets_the_known_names() -> None:
    proposal = interpreter(CARM, {"kind": "retarget", "landmark": "femoral neck"}).propose("hop to the femoral neck")
    assert proposal is not None and proposal.choices == () and "Carina" in proposal.question


@pytest.mark.parametrize("loop", LANGUAGES)
def test_every_example_can_be_read_back(loop: str) -> None:
    """What may be proposed has words that rules read as the same value."""
    language = LANGUAGES[loop]
    values = [language.parse(example) for each in language.types for example in each.examples]
    phrases = [value.in_words() for value in values if isinstance(value, Feedback)]
    assert any(phrases)
    for phrase in filter(None, phrases):
        value = language.parse(phrase)
        assert isinstance(value, Feedback) and value.in_words() == phrase


def test_a_choice_is_picked_by_number_or_by_words() -> None:
    choices = [move("left", distance) for distance in (5.0, 20.0, 50.0)]
    assert [chosen(choices, CARM, said) for said in ("2", "20 mm", "20 mm left.", "left", "4", "")] == [
        choices[1], choices[1], choices[1], None, None, None,
    ]  # fmt: skip
