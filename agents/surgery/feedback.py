"""What a surgeon says to the surgery loop, read by rules: which action comes first, which does not, what is seen, the
goal.

"No, it is bleeding, coagulate first" names one action and says why. An action's word counts only in a clause of words
that are all known here; any other clause is a reason, which moves nothing, unless it holds an action's word: then the
message gets a clarification question. Nothing of it is performed: what comes first in a plan is recommended, and stays
the surgeon's.
"""

import re
from collections.abc import Sequence

from pydantic import Field

from loopwright.agents import feedback as generic
from loopwright.agents.surgery.goals import read_goal
from loopwright.agents.surgery.history import Step
from loopwright.errors import BadInput, UnknownName
from loopwright.schema import Act, Feedback, Frozen, Reject, Unclear
from loopwright.tools.surgery.vocabulary import Action

REASON_CHARS = 300
GOAL_CHARS = 200


class SurgeonSays(Feedback):
    """Base of what a surgeon says: one set of rules reads them all, and each type takes its own."""

    @classmethod
    def read(cls, text: str) -> Feedback | Reject | Unclear | None:
        """See `Feedback.read`."""
        found = _rules(text)
        return found if isinstance(found, cls | Reject | Unclear) else None


class Prefer(SurgeonSays):
    """This action comes next, and none of those denied."""

    examples = ("no, it is bleeding, coagulate first",)
    action: Action
    denied: tuple[Action, ...] = ()
    is_correction: bool = Field(default=False, description="'no' was said to what was recommended")
    reason: str = Field(default="", max_length=REASON_CHARS)

    def in_words(self) -> str:
        """`coagulate first, do not clip`."""
        return ", ".join([f"{_VERB[self.action]} first", *(f"do not {_VERB[action]}" for action in self.denied)])

    def orders(self, act: Act) -> bool:
        """To recommend this action first, or to have the simulator's surgeon do it."""
        return self.action in (act.arguments.get("instead"), *act.arguments.get("actions", ())[:1])


class Deny(SurgeonSays):
    """None of these actions comes next."""

    examples = ("do not clip yet",)
    denied: tuple[Action, ...] = Field(min_length=1)
    reason: str = Field(default="", max_length=REASON_CHARS)

    def in_words(self) -> str:
        """`do not clip`."""
        return ", ".join(f"do not {_VERB[action]}" for action in self.denied)


class Remark(SurgeonSays):
    """What is seen, for whoever plans."""

    examples = ("it is oozing",)
    text: str = Field(max_length=REASON_CHARS)


class Aim(SurgeonSays):
    """What is aimed at from now on: a goal that `loopwright.agents.surgery.goals` knows, by its name there."""

    examples = ("the goal is that the duct is clipped",)
    goal: str = Field(min_length=1, max_length=GOAL_CHARS)

    def in_words(self) -> str:
        """`the goal is ...`."""
        return f"the goal is {self.goal}"


FEEDBACK: tuple[type[Feedback], ...] = (Prefer, Deny, Remark, Aim)


class Correction(Frozen):
    """What one message says against a recommendation, as a labelled example: the payload of an event `corrected`.

    Of what was said about a clip and taken back before the clip ended there is no example.
    """

    video: str
    clip: int = Field(ge=0, description="the last one that was seen")
    distant: tuple[Action, ...] = Field(description="of the clips before the near ones")
    near: tuple[Step, ...] = Field(min_length=1, description="the last one is the present clip")
    goal: str = Field(default="", description="'' for the procedure's usual goal")
    recommended: tuple[Action, ...] = Field(description="best first")
    action: Action | None = Field(description="what comes next; None where others were only ruled out")
    denied: tuple[Action, ...] = ()
    words: str
    author: str

    @property
    def steps(self) -> tuple[Step, ...]:
        """All that there was before the next action."""
        return (*(Step(action=action) for action in self.distant), *self.near)


_WORDS: dict[Action, str] = {
    "Aspiration": r"aspirat(?:e|ing|ion)|suck(?:ing)?|suction(?:ing)?",
    "Coagulation": r"coagulat(?:e|ing|ion)|coag|cauteri[sz](?:e|ing)|seal(?:ing)?",
    "Dissection": r"dissect(?:ing|ion)?",
    "Tissue Retraction": r"(?:tissue )?retract(?:ing|ion)?",
    "Vessel Clipping": r"(?:vessel )?clip(?:ping)?",
}
_NOUNS: dict[Action, str] = {
    "Aspiration": r"aspirat(?:ing|ion)|sucking|suction(?:ing)?",
    "Coagulation": r"coagulat(?:ing|ion)|cauteri[sz]ing|sealing",
    "Dissection": r"dissect(?:ing|ion)",
    "Tissue Retraction": r"(?:tissue )?retract(?:ing|ion)",
    "Vessel Clipping": r"(?:vessel )?clipping",
}
_VERB: dict[Action, str] = {
    "Aspiration": "aspirate",
    "Coagulation": "coagulate",
    "Dissection": "dissect",
    "Tissue Retraction": "retract",
    "Vessel Clipping": "clip",
}
_ACTION = "|".join(f"(?P<a{i}>{words})" for i, words in enumerate(_WORDS.values()))
_NOUN = "|".join(f"(?P<a{i}>{words})" for i, words in enumerate(_NOUNS.values()))
_ANY_ACTION = re.compile(rf"\b(?:{'|'.join(_WORDS.values())})\b")
_LEAD = (
    r"(?:first|now|next|just|rather|instead|better|you|we|i|should|must|need to|have to|would|want(?: to)?|let us|let's"
    r"|go on|go|with|and|do|the|is|action|a|start|starting|comes?)"
)
_PLACE = (
    r"(?:the|a|an|that|this|it|of|in|at|on|from|off|away|down|up|out|with|to|into|along|around|again|more|further|some"
    r"|bit|little|first|now|next|instead|here|there|yet|before|(?:is|comes|goes) (?:first|next)"
    r"|cystic|duct|artery|arteries|vessels?|pedicle|plate|liver|bed|gallbladder|tissue|adhesions?|omentum|fat|gut"
    r"|peritoneum|blood|fluid|smoke|bile|bleed(?:ing|er)?|source|plane|calot'?s?|triangle|wall|stump|spot|field|oozing)"
)
_COMMAND = re.compile(rf"(?:{_LEAD} )*(?:{_ACTION})(?: {_PLACE})*")
_MORE = r"(?: (?:to|any|more|further|the))*"
_DENIAL = re.compile(
    rf"(?:(?:you|we|i) )?(?:do not|don't|must not|should not|never|avoid|skip){_MORE} (?:{_ACTION})(?: {_PLACE})*"
)
_NO_NOUN = re.compile(rf"(?:no|not){_MORE} (?:{_NOUN})(?: {_PLACE})*")
"""'no coagulation' rules it out. 'no coagulate first' lacks a comma or a word, and which is anybody's guess."""
_NO = re.compile(r"(?:(?:that|this|it) is )?(?:no|nope|wrong|incorrect|not (?:that|this|it|yet|so|right|correct))")
_SIGHT = re.compile(
    r".*\b(?:bleed(?:s|ing)?|blood|ooz(?:es|ing|e)|smoke|fluid|bile|leak(?:s|ing)?|adhesions?|exposed|seen?|visible"
    r"|covered|hidden|torn|clipped|cut|detached|perforated|spill(?:s|ed|ing)?)\b.*"
)
_AIM = re.compile(r"(?:(?:the|our|my) )?(?:new )?(?:goal|aim)(?: is| should be|:)?(?: now)?(?: that)? (?P<goal>.+)")
_AND = r"(?:and then|then|and|so|but|because|since|as)"
_BETWEEN = re.compile(rf"(?:\s*[,;:.!?]+|\s+-)\s*(?:{_AND}\s+)?|\s+{_AND}\s+")


def _rules(said: str) -> Reject | Prefer | Deny | Remark | Aim | Unclear | None:
    if aimed := _AIM.fullmatch(said):
        return _aim(said, aimed["goal"])
    wanted: list[Action] = []
    denied: list[Action] = []
    reasons: list[str] = []
    is_correction = False
    for clause in filter(None, _BETWEEN.split(said)):
        if _NO.fullmatch(clause):
            is_correction = True
        elif match := _DENIAL.fullmatch(clause) or _NO_NOUN.fullmatch(clause):
            denied.append(_action(match))
        elif match := _COMMAND.fullmatch(clause):
            wanted.append(_action(match))
        elif found := _ANY_ACTION.search(clause):
            return generic.unclear(said, f"What is to be done with {found[0]!r}? For example: {Deny.example()}.")
        else:
            reasons.append(clause)
    reason = ", ".join(reasons)
    if len(reason) > REASON_CHARS:
        return generic.unclear(said, f"Could you give the reason in {REASON_CHARS} characters?")
    if wanted or denied:
        return _chosen(said, wanted, denied, reason, is_correction)
    if reasons and is_correction:
        return Reject(reason=reason)
    return Remark(text=reason) if reasons and all(map(_SIGHT.fullmatch, reasons)) else None


def _chosen(
    said: str, wanted: Sequence[Action], denied: Sequence[Action], reason: str, is_correction: bool
) -> Prefer | Deny | Unclear:
    first, others = list(dict.fromkeys(wanted)), tuple(dict.fromkeys(denied))
    if len(first) > 1:
        return generic.unclear(said, f"Which comes first: {' or '.join(f'`{_VERB[action]}`' for action in first)}?")
    if set(first) & set(others):
        return generic.unclear(said, f"Say `{_VERB[first[0]]}`, or `do not {_VERB[first[0]]}`: which do you mean?")
    if first:
        return Prefer(action=first[0], denied=others, is_correction=is_correction, reason=reason)
    return Deny(denied=others, reason=reason)


def _aim(said: str, goal: str) -> Aim | Unclear:
    try:
        return Aim(goal=read_goal(goal).name)
    except (UnknownName, BadInput) as error:
        return generic.unclear(said, str(error))


def _action(match: re.Match[str]) -> Action:
    return next(action for i, action in enumerate(_WORDS) if match[f"a{i}"])
