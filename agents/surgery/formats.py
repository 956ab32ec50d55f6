"""The surgeon role's answers: a caption of what is seen, the next action, and a plan of three ranked actions.

After the paper's section 2.2 (Xu et al. 2025): progress assessment, safety considerations, and three actions, each with
the reason for its rank. A plan is JSON without white space. Knows no prompt and no model.
"""

import json
import re
from collections.abc import Sequence
from itertools import combinations
from typing import Any

from pydantic import Field, field_validator

from loopwright.agents.plain import plain_pattern, plainly
from loopwright.errors import DeveloperError
from loopwright.models.answers import TextFormat
from loopwright.models.markup import json_object
from loopwright.schema import Frozen
from loopwright.tools.surgery.clips import Clip
from loopwright.tools.surgery.procedure import PROGRESS, VisibleState
from loopwright.tools.surgery.vocabulary import ACTIONS, Action, number_of

ASSESSMENT_CHARS = 120
"""Of the progress assessment, and of the safety considerations."""
RATIONALE_CHARS = 90
CAPTION_CHARS = 200
N_RANKS = 3

_SHOWN_WORDS = 5
"""A caption names so many instruments, and so many targets: those that are there longest."""
_REASONS: dict[Action, str] = {
    "Aspiration": "Fluid hides the field.",
    "Coagulation": "The liver bed oozes.",
    "Dissection": "The plane is open.",
    "Tissue Retraction": "The field needs tension.",
    "Vessel Clipping": "Duct and artery are seen.",
}
"""As examples."""
BLEEDING_WORDS = {"none": "no bleeding", "oozing": "oozing blood", "pooling": "pooling blood"}
"""What is said of bleeding."""


class RankedAction(Frozen):
    """A recommended action, and why it stands at its rank."""

    action: Action
    rationale: str = Field(max_length=RATIONALE_CHARS, pattern=f"^{plain_pattern(RATIONALE_CHARS)}$")


class Plan(Frozen):
    """What is recommended to come next: three different actions, best first."""

    progress: str = Field(
        max_length=ASSESSMENT_CHARS,
        pattern=f"^{plain_pattern(ASSESSMENT_CHARS)}$",
        description="how far the procedure has come",
    )
    safety: str = Field(
        max_length=ASSESSMENT_CHARS, pattern=f"^{plain_pattern(ASSESSMENT_CHARS)}$", description="what to watch"
    )
    actions: tuple[RankedAction, RankedAction, RankedAction] = Field(description="best first")

    @field_validator("actions")
    @classmethod
    def _each_once(cls, actions: tuple[RankedAction, ...]) -> tuple[RankedAction, ...]:
        names = [ranked.action for ranked in actions]
        if len(set(names)) < len(names):
            raise ValueError(f"{names!r} names an action twice")
        return actions

    @property
    def ranking(self) -> tuple[Action, ...]:
        """The actions, best first."""
        return tuple(ranked.action for ranked in self.actions)


def plan_form(choices: Sequence[Action] = ACTIONS, *, in_order: bool = False) -> TextFormat[Plan]:
    """The form of a plan.

    Args:
        choices: what may be recommended.
        in_order: recommend the first three of `choices`, as they stand. So a ranking that was scored keeps its order,
            and the model gives the reasons.

    Raises:
        DeveloperError: there are fewer than three different choices.
    """
    _check_choices(choices, N_RANKS)
    known = choices[:N_RANKS] if in_order else choices

    def read(text: str) -> Plan:
        plan = Plan.model_validate_json(text)
        if plan.model_dump_json() != text:
            raise ValueError("it is not of that form")
        others = [action for action in plan.ranking if action not in known]
        if others:
            raise ValueError(f"{others[0]!r} is none of {', '.join(known)}")
        if in_order and plan.ranking != tuple(known):
            raise ValueError(f"the actions are {', '.join(known)}, in this order")
        return plan

    blank = _plan_text("", "", ",".join(_item(action, "") for action in sorted(known, key=len)[-N_RANKS:]))
    items = ",".join(_item(action, _REASONS[action]) for action in known[:N_RANKS])
    return TextFormat(
        name="plan",
        pattern=_plan_pattern(known, in_order=in_order),
        longest_chars=len(blank) + 2 * ASSESSMENT_CHARS + N_RANKS * RATIONALE_CHARS,
        example=_plan_text("The duct is being exposed.", "Keep off the bile duct.", items),
        render=lambda plan: plan.model_dump_json(),
        read=read,
        tidy=_tidy_plan,
    )


def next_action_form(choices: Sequence[Action] = ACTIONS) -> TextFormat[str]:
    """The form of the one action that comes next; a model that can score its answers is asked for probabilities.

    Raises:
        DeveloperError: there are fewer than two different choices.
    """
    _check_choices(choices, 2)

    def read(text: str) -> str:
        if text not in choices:
            raise ValueError(f"it is none of {', '.join(choices)}")
        return text

    return TextFormat(
        name="next action",
        pattern=f"(?:{'|'.join(choices)})",
        longest_chars=max(map(len, choices)),
        example=choices[0],
        render=lambda action: action,
        read=read,
        tidy=lambda text: _action(text.strip(" .")),
    )


def caption_of(clip: Clip, state: VisibleState | None = None) -> str:
    """What a clip's labels tell of it, as a caption: nothing of its action, its phase or what comes after.

    Instruments and targets are named longest in view first, "briefly" those in view less than half of the time.

    Args:
        clip: with its labels.
        state: what is truly visible at its end, where that is known (the simulator).
    """
    parts = [] if state is None else [seen_words(state)]
    parts += [
        f"{what}: {_in_view(seconds, clip.labelled_s) or 'none'}."
        for what, seconds in (("Instruments", clip.instruments), ("Targets", clip.targets))
    ]
    return plainly(" ".join(parts), CAPTION_CHARS)


def seen_words(state: VisibleState) -> str:
    """What is visible of the patient, as a caption opens with it."""
    return f"Seen: {PROGRESS[state.progress]}, {BLEEDING_WORDS[state.bleeding]}."


def _in_view(seconds: dict[str, int], labelled_s: int) -> str:
    longest = sorted(seconds, key=lambda name: (-seconds[name], name))[:_SHOWN_WORDS]
    words = {name: "nothing" if name == "null_target" else name.replace("_", " ") for name in longest}
    return ", ".join(words[name] if 2 * seconds[name] >= labelled_s else f"briefly {words[name]}" for name in longest)


def _check_choices(choices: Sequence[Action], least: int) -> None:
    if len(set(choices)) < max(least, len(choices)):
        raise DeveloperError(f"`choices` is {choices!r}; expected at least {least} actions, each once.")


def _plan_text(progress: str, safety: str, items: str) -> str:
    return f'{{"progress":"{progress}","safety":"{safety}","actions":[{items}]}}'


def _item(action: str, rationale: str) -> str:
    return f'{{"action":"{action}","rationale":"{rationale}"}}'


def _plan_pattern(choices: Sequence[Action], *, in_order: bool) -> str:
    """Three different actions. The first two come in either order, so that their pair shares what may follow."""

    def item(*actions: str) -> str:
        return rf'\{{"action":"(?:{"|".join(actions)})","rationale":"{plain_pattern(RATIONALE_CHARS)}"\}}'

    if in_order:
        items = ",".join(map(item, choices))
    else:
        parts = [
            f"(?:{item(one)},{item(two)}|{item(two)},{item(one)}),{item(*(a for a in choices if a not in (one, two)))}"
            for one, two in combinations(choices, 2)
        ]
        items = f"(?:{'|'.join(parts)})"
    assessment = plain_pattern(ASSESSMENT_CHARS)
    return rf'\{{"progress":"{assessment}","safety":"{assessment}","actions":\[{items}\]\}}'


def _tidy_plan(text: str) -> str:
    """The JSON object in `text`, its words plain and its actions spelled as in the vocabulary."""
    said = _members(json.loads(json_object(text), strict=False), "the plan")
    actions = said.get("actions")
    if not isinstance(actions, list) or len(actions) != N_RANKS:
        raise ValueError(f"`actions` is {actions!r}; a list of {N_RANKS} is expected")
    items = []
    for ranked in (_members(item, "an action") for item in actions):
        name, rationale = _action(_text(ranked, "action")), _text(ranked, "rationale")
        items.append(_item(name, plainly(rationale, RATIONALE_CHARS)))
    progress, safety = (plainly(_text(said, key), ASSESSMENT_CHARS) for key in ("progress", "safety"))
    return _plan_text(progress, safety, ",".join(items))


def _members(value: object, what: str) -> dict[str, Any]:
    """The members of a JSON object, their names in lower case."""
    if not isinstance(value, dict):
        raise ValueError(f"{what} is {value!r}; an object is expected")
    return {name.strip().lower(): member for name, member in value.items()}


def _text(members: dict[str, Any], name: str) -> str:
    value = members.get(name)
    if not isinstance(value, str):
        raise ValueError(f"`{name}` is {value!r}; text is expected")
    return value


def _action(word: str) -> Action:
    return ACTIONS[number_of(word, ACTIONS, "action")]


def _read_caption(text: str) -> str:
    if re.fullmatch(plain_pattern(CAPTION_CHARS), text) is None:
        raise ValueError(f"plain text of at most {CAPTION_CHARS} characters is expected")
    return text


CAPTION: TextFormat[str] = TextFormat(
    name="caption",
    pattern=plain_pattern(CAPTION_CHARS),
    longest_chars=CAPTION_CHARS,
    example="Seen: duct partly exposed, no bleeding. Instruments: hook, grasper. Targets: cystic plate.",
    render=lambda text: text,
    read=_read_caption,
    tidy=lambda text: plainly(text, CAPTION_CHARS),
)
"""Of a clip, in one line; `caption_of` writes what labels tell of it in the same form."""

NEXT_ACTION = next_action_form()
PLAN = plan_form()
