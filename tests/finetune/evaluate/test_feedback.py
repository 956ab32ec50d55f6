"""How well words are understood: every outcome is told apart, and phrasings mean what their loop can hear."""

from collections import Counter
from typing import Any, cast

import pytest

from loopwright.agents.carm.feedback import LANGUAGE
from loopwright.agents.sessions.interpreting import Interpreter
from loopwright.cli.plugin import all_commands
from loopwright.finetune.evaluate.feedback import Phrasing, Phrasings, evaluate_feedback, outcome
from loopwright.graphs.registry import get_loop
from loopwright.graphs.resolve import resolve

LEFT: dict[str, Any] = {"kind": "move_view", "direction": "left", "distance_mm": 20.0}
RIGHT = LEFT | {"direction": "right"}
BY_LOOP = {name: where for each in all_commands() for name, where in each.phrasings.items()}


@pytest.mark.parametrize(
    ("text", "meaning", "answer", "found"),
    [
        ("20 mm left", LEFT, None, "exact"),
        ("20 mm left", RIGHT, None, "wrong"),
        ("shove it 20 mm his left", LEFT, LEFT, "exact"),
        ("shove it 20 mm his left", LEFT, RIGHT, "misread"),
        ("shove it 20 mm his left", LEFT, {"kind": "none"}, "asked"),
        ("what a day", None, LEFT, "exact"),
        ("what a day of 20", None, LEFT, "misread"),
        ("stop the music", None, None, "stopped"),
    ],
)
def test_outcomes(text: str, meaning: dict[str, Any] | None, answer: dict[str, Any] | None, found: str) -> None:
    interpreter = Interpreter(LANGUAGE, lambda prompt, form: answer)
    if text == "what a day":  # amounts are offered, and none was meant
        assert outcome(Phrasing(text, meaning, text), LANGUAGE, interpreter) == "misread"
        interpreter = Interpreter(LANGUAGE, lambda prompt, form: None)
    assert outcome(Phrasing(text, meaning, text), LANGUAGE, interpreter) == found


@pytest.mark.parametrize("loop", BY_LOOP)
def test_the_phrasings_of_a_loop(loop: str) -> None:
    """Repeatable, at least 300, of many templates; what they mean is what the loop can hear; no rule moves on any."""
    phrasings = cast(Phrasings, resolve(BY_LOOP[loop]))
    said, language = phrasings(300, 0), get_loop(loop).language
    assert said == phrasings(300, 0) != phrasings(300, 1)
    assert Counter(each.is_hostile for each in said)[False] == 300 and len({each.template for each in said}) >= 20
    kinds = {language.dump(language.parse(example))["kind"] for each in language.types for example in each.examples}
    assert {each.meaning["kind"] for each in said if each.meaning is not None} <= kinds
    ordinary, hostile = evaluate_feedback(loop, language, said, "rules")
    assert ordinary.figures["moved"] == hostile.figures["moved"] == hostile.figures["wrong"] == 0
    assert ordinary.figures["exact"] < 0.5, "they were written without the rules"
