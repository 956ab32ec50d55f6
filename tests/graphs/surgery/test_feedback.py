"""What a surgeon's words change, and which of them teach."""

from datetime import UTC, datetime
from typing import Any

import pytest

from loopwright.agents.sessions.gate import Heard
from loopwright.agents.sessions.language import FeedbackLanguage
from loopwright.agents.surgery.advice import Advice, Preference
from loopwright.agents.surgery.feedback import FEEDBACK
from loopwright.agents.surgery.formats import PLAN
from loopwright.graphs.surgery.feedback import WORDS_CHARS, Change, apply_feedback, lessons
from loopwright.tools.surgery.vocabulary import Action

CHOICES: tuple[Action, ...] = ("Dissection", "Coagulation", "Aspiration", "Vessel Clipping")
"""What may follow Tissue Retraction; Dissection is recommended."""


def heard(*texts: str, preference: Preference | None = None) -> Change:
    items = ",".join(f'{{"action":"{action}","rationale":"So."}}' for action in CHOICES[:3])
    plan = PLAN.parse(f'{{"progress":"Early.","safety":"Slowly.","actions":[{items}]}}')
    advice = Advice(plan=plan, probabilities=dict.fromkeys(CHOICES, 0.25), source="ngram")
    language, now = FeedbackLanguage(FEEDBACK), datetime.now(UTC)
    messages = [
        Heard(message_id=i, author="surgeon", text=text, words=language.dump(language.parse(text)), received_at=now)
        for i, text in enumerate(texts)
    ]
    return apply_feedback(preference or Preference(), "", advice, messages, CHOICES)


@pytest.mark.parametrize(
    ("texts", "first", "denied", "taught"),
    [
        (["coagulate"], "Coagulation", [], ["coagulate: Coagulation"]),
        (["no, coagulate"], "Coagulation", ["Dissection"], ["no, coagulate: Coagulation, not Dissection"]),
        (["dissect"], "Dissection", [], []),
        (["no"], None, ["Dissection"], ["no: not Dissection"]),
        (["do not clip"], None, ["Vessel Clipping"], []),
        (["do not dissect"], None, ["Dissection"], ["do not dissect: not Dissection"]),
        (["coagulate", "do not coagulate"], None, ["Coagulation"], []),
        (["do not coagulate", "coagulate"], "Coagulation", [], ["coagulate: Coagulation"]),
        (["coagulate", "coagulate first"], "Coagulation", [], ["coagulate: Coagulation"]),
        (
            ["no", "it is bleeding", "clip"],
            "Vessel Clipping",
            ["Dissection"],
            ["no: not Dissection", "clip: Vessel Clipping"],
        ),
        (["no", "dissect"], "Dissection", [], []),
        (
            ["do not coagulate, do not clip, do not aspirate", "no"],
            None,
            ["Aspiration", "Coagulation", "Dissection", "Vessel Clipping"],
            [],
        ),
        (["retract"], None, [], []),  # it is what is being done
        (["it is bleeding"], None, [], []),
        (["approve"], None, [], []),
        (["note: a stone"], None, [], []),
        (["what now"], None, [], []),
    ],
)
def test_words_change_the_wish_and_some_teach(
    texts: list[str], first: str | None, denied: list[str], taught: list[str]
) -> None:
    change = heard(*texts)
    assert (change.preference.first, list(change.preference.denied)) == (first, denied)
    told = [
        f"{said.text}: " + ", ".join([*filter(None, [said.action]), *(f"not {action}" for action in said.denied)])
        for said in lessons(change.preference, CHOICES)
    ]
    assert told == taught
    is_about_the_clip = texts[0] not in ("approve", "note: a stone", "what now")
    assert change.replans == is_about_the_clip
    assert (texts[-1] in change.preference.words) == is_about_the_clip


def test_a_goal_is_aimed_at_and_is_no_word_about_the_clip() -> None:
    change = heard("the goal is that the artery is clipped")
    assert (change.goal, change.preference, change.replans) == ("the artery is clipped", Preference(), True)


def test_long_words_are_cut() -> None:
    assert len(heard("no, " + "it is bleeding " * 19).preference.words) <= WORDS_CHARS


def test_what_was_denied_before_stays_denied() -> None:
    before: Any = Preference(denied=("Aspiration",), words="do not aspirate")
    assert heard("no", preference=before).preference.denied == ("Aspiration", "Dissection")
