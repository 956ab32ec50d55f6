"""What a procedure is planned up to: a goal in plain language, read into one of a closed vocabulary, and judged.

    the artery is clipped           one Vessel Clipping since the procedure's start
    the vessels are clipped         two: the artery's and the duct's. "The duct is clipped" is the same
    the gallbladder is detached     these two, and then six of Dissection, as it takes simulated patients in the median
    the first Coagulation           so many of any action since the start: "the third Aspiration", "2 clippings"
    the next Coagulation            so many from now on: "another Aspiration", "3 more dissections"

Words such as "dissect until", "go on until" and "please" may come before. What is not understood to the last word is
refused: half a sentence can mean the opposite of the whole.

A chain of actions shows no tissue, so goals about tissue are told from the actions that bring them about, in their
order. Where the truth is known (the simulator) such a goal has its place in PROGRESS. Knows no planner and no prompt.
"""

import re
from collections.abc import Iterator, Sequence

from pydantic import Field

from loopwright.errors import BadInput, UnknownName
from loopwright.schema import Frozen
from loopwright.tools.surgery.procedure import ARTERY_CLIPPED, DETACHED, DUCT_CLIPPED, VisibleState
from loopwright.tools.surgery.vocabulary import ACTIONS, Action

MOST_TIMES = 20
"""How often an action may be asked for."""

_DISSECTIONS_TO_DETACH = 6


class Goal(Frozen):
    """Some actions that are performed one after the other; others may come between."""

    name: str = Field(description="how the vocabulary says it; `read_goal` reads it back")
    actions: tuple[Action, ...] = Field(min_length=1)
    from_now: bool = Field(default=False, description="what was performed before the plan begins does not count")
    progress: int | None = Field(default=None, description="the place in PROGRESS that it is about")

    def done(self, past: Sequence[Action], planned: Sequence[Action] = ()) -> int:
        """How many of its actions were performed so far: in `past`, oldest first, and then in `planned`."""
        n = 0
        for action in planned if self.from_now else (*past, *planned):
            n += n < len(self.actions) and action == self.actions[n]
        return n

    def is_reached(self, past: Sequence[Action], planned: Sequence[Action] = ()) -> bool:
        """Whether all of its actions were performed."""
        return self.done(past, planned) == len(self.actions)

    def is_true(self, state: VisibleState) -> bool | None:
        """Whether the truth has it; None for a goal that is about actions alone."""
        return None if self.progress is None else state.progress >= self.progress

    def reached_after(self, past: Sequence[Action], following: Sequence[Action]) -> int | None:
        """After how many of `following`, 0 where it is reached already; None where they do not reach it."""
        return next((n for n in range(len(following) + 1) if self.is_reached(past, following[:n])), None)


_EMPTY = {"the", "a", "an", "is", "are", "be", "was", "were", "been", "has", "have", "both", "cystic", "please"}

_CARDINALS = "one|two|three|four|five|six|seven|eight|nine|ten"
_ORDINALS = "first|second|third|fourth|fifth|sixth|seventh|eighth|ninth|tenth"
_NUMBERS = {
    **{word: n for n, word in enumerate(_CARDINALS.split("|"), 1)},
    **{word: n for n, word in enumerate(_ORDINALS.split("|"), 1)},
    "once": 1,
    "twice": 2,
}
_CARDINAL = rf"(?P<n>\d{{1,9}}|{_CARDINALS})"
_ORDINAL = rf"(?P<n>\d{{1,9}}(?:st|nd|rd|th)|{_ORDINALS})"
_TIMES = rf"(?P<n>once|twice|(?:\d{{1,9}}|{_CARDINALS}) times)"

_WORDS: dict[Action, str] = {
    "Aspiration": "aspirations?|aspirat(?:e|ing)|suctions?",
    "Coagulation": "coagulations?|coagulat(?:e|ing)",
    "Dissection": "dissections?|dissect(?:ing)?",
    "Tissue Retraction": "(?:tissue )?retractions?|retract(?:ing)?",
    "Vessel Clipping": "(?:vessel )?clippings?",
}
_FORMS: tuple[tuple[str, bool], ...] = (
    (f"{_ORDINAL} ACTION", False),
    (f"{_CARDINAL} ACTION(?: in all)?", False),
    (f"ACTION {_TIMES}(?: in all)?", False),
    ("(?:next |another )?ACTION(?: again)?", True),
    (f"next {_CARDINAL} ACTION", True),
    (f"{_CARDINAL} more ACTION", True),
    (f"ACTION {_TIMES} more", True),
)
"""What says how often an action is wanted, and whether from now on; `n` is the number."""
_LEAD_IN = (
    rf"(?:(?:(?:go|carry|keep) (?:on|going)|continue|proceed|work|plan|{'|'.join(_WORDS.values())}) )?"
    "(?:until|till|up to|to) "
)
"""How to get there is no part of the goal."""
_HAPPENS = "(?: (?:comes|begins|starts|performed))?"


_VESSELS = "vessels|duct|duct and artery|artery and duct"
_CLIPPED, _CLIP = "clipped|secured|closed", "clip|secure|close"
_LIVER = "liver(?: bed)?"
_CLIPPING: Action = "Vessel Clipping"
_DISSECTION: Action = "Dissection"
_MILESTONES = {
    f"artery (?:{_CLIPPED})|(?:{_CLIP}) artery": Goal(
        name="the artery is clipped", actions=(_CLIPPING,), progress=ARTERY_CLIPPED
    ),
    f"(?:{_VESSELS}) (?:{_CLIPPED})|(?:{_CLIP}) (?:{_VESSELS})|clipping (?:done|finished|completed?)": Goal(
        name="the vessels are clipped", actions=(_CLIPPING,) * 2, progress=DUCT_CLIPPED
    ),
    (
        f"gallbladder (?:(?:detached|freed?|separated)(?: from {_LIVER})?|(?:dissected |taken )?off(?: {_LIVER})?"
        f"|removed from {_LIVER})|(?:detach|free|separate) gallbladder(?: from {_LIVER})?"
        f"|(?:dissect|take) gallbladder off(?: {_LIVER})?|remove gallbladder from {_LIVER}"
    ): Goal(
        name="the gallbladder is detached",
        actions=(_CLIPPING,) * 2 + (_DISSECTION,) * _DISSECTIONS_TO_DETACH,
        progress=DETACHED,
    ),
}


def read_goal(text: str) -> Goal:
    """The goal that `text` names, by the vocabulary above.

    Raises:
        UnknownName: it is outside of the vocabulary; the message lists what is inside, the nearest first.
        BadInput: an action is asked for never, or more than `MOST_TIMES` times.
    """
    said = _plain(text)
    for pattern, goal in _MILESTONES.items():
        if re.fullmatch(f"(?:{_LEAD_IN})?(?:{pattern})", said):
            return goal
    for action, pattern in _WORDS.items():
        for form, from_now in _FORMS:
            if found := re.fullmatch(f"(?:{_LEAD_IN})?{form.replace('ACTION', f'(?:{pattern})')}{_HAPPENS}", said):
                return _repeated(action, _number(found.groupdict().get("n")), from_now)
    raise UnknownName("goal", text, list(_examples()))


def _repeated(action: Action, times: int, from_now: bool) -> Goal:
    if not 1 <= times <= MOST_TIMES:
        raise BadInput(f"`goal` asks for {action} {times!r} times; expected 1 to {MOST_TIMES}.")
    if times == 1:
        name = f"the {'next' if from_now else 'first'} {action}"
    else:
        name = f"{action} {times} times {'more' if from_now else 'in all'}"
    return Goal(name=name, actions=(action,) * times, from_now=from_now)


def _plain(text: str) -> str:
    """`text` in lower case, without punctuation and the words that change nothing."""
    words = re.findall(r"(?<!\w)-\d+|[^\W_]+", text.lower().replace("gall bladder", "gallbladder"))
    return " ".join(word for word in words if word not in _EMPTY)


def _number(word: str | None) -> int:
    """ "three", "third", "3", "3rd", "twice" or "3 times"; 1 where nothing is said."""
    if word is None:
        return 1
    word = word.removesuffix(" times")
    return _NUMBERS[word] if word in _NUMBERS else int(re.sub(r"\D+$", "", word))


def _examples() -> Iterator[str]:
    """What is understood, for a person to choose from."""
    yield from (goal.name for goal in _MILESTONES.values())
    yield "the duct is clipped"
    for action in ACTIONS:
        yield from (f"the first {action}", f"the next {action}")
    yield from ("3 Vessel Clippings", "2 more Coagulations")
