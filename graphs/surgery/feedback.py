"""What a surgeon's words change in the surgery loop: what is asked for, aimed at and told to a model; never a rule.

A word against what was recommended is a correction: a labelled example, recorded as an event of its own.
"""

import textwrap
from collections.abc import Sequence
from typing import NamedTuple

from loopwright.agents.sessions.gate import Heard
from loopwright.agents.surgery.advice import Advice, Preference, Said
from loopwright.tools.surgery.vocabulary import Action

WORDS_CHARS = 200
"""How much of one message a model is told; what is longer is cut at a word."""


class Change(NamedTuple):
    """What words made of a preference and a goal."""

    preference: Preference
    goal: str
    replans: bool


def apply_feedback(
    preference: Preference, goal: str, advice: Advice, heard: Sequence[Heard], choices: Sequence[Action]
) -> Change:
    """The preference after `heard`, one message after the other, each about `advice`.

    An action that cannot follow, because it is what is being done, is not wished for; what the message rules out is
    ruled out all the same.
    """
    before = (preference, goal)
    for one in heard:
        words, action = one.words, None
        no: set[Action] = set()
        match one.kind:
            case "prefer" if words["action"] in choices:
                action = words["action"]
                no = {*words["denied"], *([advice.first] if words["is_correction"] else [])} - {action}
            case "prefer":
                no = {*words["denied"], *([advice.first] if words["is_correction"] else [])}
            case "deny":
                no = set(words["denied"])
            case "reject":
                no = {advice.first}
            case "aim":
                goal = words["goal"]
                continue
            case "remark":
                pass
            case _:  # approve and note change nothing
                continue
        denied = (set(preference.denied) | no) - {action}
        said = Said(
            message_id=one.message_id,
            author=one.author,
            text=one.text,
            recommended=advice.plan.ranking,
            action=action,
            denied=tuple(sorted(no)),
        )
        preference = Preference(
            first=action or (None if preference.first in denied else preference.first),
            denied=tuple(sorted(denied)),
            words=_joined(preference.words, one.text),
            said=(*preference.said, said),
        )
    return Change(preference, goal, (preference, goal) != before)


def lessons(preference: Preference, choices: Sequence[Action]) -> list[Said]:
    """The messages that contradicted a recommendation, each with what it says itself, as far as it stands in the end.

    What was named and then taken back, or named again, labels nothing; so the final decision counts once.
    """
    taught: list[Said] = []
    if preference.rules_out(choices):  # whoever denies everything tells nothing of what comes next
        return taught
    for said in preference.said:
        is_decision = said.action == preference.first != said.recommended[0] and all(
            one.action is None for one in taught
        )
        action = said.action if is_decision else None
        denied = tuple(one for one in said.denied if one in preference.denied)
        if action is not None or said.recommended[0] in denied:
            taught.append(said.model_copy(update={"action": action, "denied": denied}))
    return taught


def _joined(before: str, text: str) -> str:
    return "; ".join(filter(None, (before, textwrap.shorten(text, WORDS_CHARS, placeholder=" ..."))))
