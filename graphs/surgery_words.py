"""What a surgeon's words change in the surgery loop: what is wished for, aimed at and told to a model; never a rule.

A word against what was recommended is a correction: a labelled example, recorded as an event of its own.
"""

import textwrap
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from loopwright.agents.hearing import Heard
from loopwright.agents.surgery_advice import Advice, Wish
from loopwright.tools.surgery.vocabulary import Action

WORDS_CHARS = 200
"""How much of one message a model is told; what is longer is cut at a word."""


class Change(NamedTuple):
    """What words made of a wish. `corrected` are the messages that said no to what was recommended."""

    wish: Wish
    goal: str
    corrected: list[Heard]
    replans: bool


def heed(wish: Wish, goal: str, advice: Advice, heard: Sequence[Heard], choices: Sequence[Action]) -> Change:
    """The wish after `heard`, one message after the other, each about `advice`.

    An action that cannot follow, because it is what is being done, is not wished for: of such a message the words are
    told, and no more.
    """
    corrected: list[Heard] = []
    before = (wish, goal)
    for one in heard:
        words, first, denied = one.words, wish.first, set[Action](wish.denied)
        match words["kind"]:
            case "prefer" if words["action"] in choices:
                first = words["action"]
                denied |= {*words["denied"], *([advice.first] if words["is_correction"] else [])}
            case "deny":
                denied |= set(words["denied"])
            case "reject":
                denied.add(advice.first)
            case "aim":
                goal = words["goal"]
                continue
            case "remark" | "prefer":
                pass
            case _:  # approve and note change nothing
                continue
        if words["kind"] == "prefer" and first is not None:
            denied.discard(first)
        elif first in denied:
            first = None
        wish = Wish(first=first, denied=tuple(sorted(denied)), words=_joined(wish.words, one.text))
        if advice.first in denied or first not in (None, advice.first):
            corrected.append(one)
    return Change(wish, goal, corrected, (wish, goal) != before)


def settles(heard: Iterable[Heard]) -> bool:
    """Whether anything that was heard answers a question."""
    return any(h.words["kind"] not in ("note", "unclear", "remark") for h in heard)


def is_approved(heard: Iterable[Heard]) -> bool:
    """Whether what is recommended was approved."""
    return any(h.words["kind"] == "approve" for h in heard)


def _joined(before: str, text: str) -> str:
    return "; ".join(filter(None, (before, textwrap.shorten(text, WORDS_CHARS, placeholder=" ..."))))
