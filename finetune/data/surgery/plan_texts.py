"""What a surgeon's plan says in a training example: short, and nothing that the prompt does not show.

Words follow from what is truly visible where that is known (the simulator), else from what is worked on and, where the
past is shown, from the actions so far. They give the form its content; a stronger model's words
(`loopwright.finetune.data.surgery.distill`) take their place where there are any. Knows no prompt.
"""

from collections.abc import Mapping, Sequence

from loopwright.agents.surgery.formats import N_RANKS, Plan, RankedAction
from loopwright.tools.surgery.clips import Clip
from loopwright.tools.surgery.procedure import COVERED, DETACHED, DUCT_CLIPPED, EXPOSED, PROGRESS, VisibleState
from loopwright.tools.surgery.statistics import Stage
from loopwright.tools.surgery.vocabulary import Action

_VESSELS = frozenset({"cystic_duct", "cystic_artery", "cystic_pedicle", "cystic_plate"})
_BLOOD = frozenset({"blood_vessel", "fluid"})
_STAGES: Mapping[Stage, str] = {
    "calot": "Calot's triangle is being cleared.",
    "clipping": "the vessels are being clipped.",
    "liver bed": "the gallbladder is coming off the liver.",
    "cleaning": "the field is being cleaned.",
}
_REASONS: Mapping[Action, str] = {
    "Aspiration": "Fluid may hide the field.",
    "Coagulation": "Small vessels may ooze where tissue was parted.",
    "Dissection": "Tissue must still be parted.",
    "Tissue Retraction": "The field needs tension and a clear view.",
    "Vessel Clipping": "Duct and artery may be ready to be closed.",
}
"""Where nobody knows what is truly visible."""
_AGAINST_BLOOD: Mapping[Action, str] = {
    "Aspiration": "Blood or fluid may have to be cleared.",
    "Coagulation": "What bleeds may have to be sealed.",
}


def plan_of(ranking: Sequence[Action], clip: Clip, state: VisibleState | None, past: Sequence[Action] | None) -> Plan:
    """The plan that recommends `ranking` after a clip.

    Args:
        ranking: best first; the first three are recommended.
        clip: the last one, which the prompt describes or shows.
        state: what is truly visible at its end; None where nobody knows.
        past: all actions so far, where the prompt tells them.
    """
    first, second, third = (
        RankedAction(action=action, rationale=rationale(action, clip, state)) for action in ranking[:N_RANKS]
    )
    return Plan(progress=progress(clip, state, past), safety=safety(clip, state), actions=(first, second, third))


def progress(clip: Clip, state: VisibleState | None, past: Sequence[Action] | None) -> str:
    """How far the procedure is."""
    if state is not None:
        return f"{PROGRESS[state.progress].capitalize()}: {_STAGES[state.stage]}"
    if past is None:
        return f"Work is at the {_target(clip)}."
    n_clippings = past.count("Vessel Clipping")
    clipped = f"vessels were clipped in {n_clippings}" if n_clippings else "no vessel is clipped yet"
    return f"{len(past)} step{'s' if len(past) > 1 else ''} so far, {clipped}; work is at the {_target(clip)}."


def safety(clip: Clip, state: VisibleState | None) -> str:
    """What to watch."""
    if state is not None:
        return _safety_of(state)
    seen = set(clip.targets)
    if seen & _BLOOD:
        return "Find and control the source of bleeding first."
    if seen & _VESSELS:
        return "Clip nothing before duct and artery are both seen."
    return "Keep close to the gallbladder, and watch for oozing."


def _safety_of(state: VisibleState) -> str:
    if state.bleeding == "oozing":
        return "Blood oozes: seal its source before going on."
    if state.bleeding == "pooling":
        return "Pooling blood hides the field: clear it, then seal the source."
    if state.progress < EXPOSED:
        return "Clip nothing: duct and artery are not both seen."
    if state.progress < DUCT_CLIPPED:
        return "Check duct and artery once more before each clip."
    if state.progress < DETACHED:
        return "Keep close to the gallbladder, and watch the liver bed."
    return "Look for bleeding before the end."


def rationale(action: Action, clip: Clip, state: VisibleState | None) -> str:
    """Why an action is recommended, or stands no higher."""
    if state is None:
        seen = set(clip.targets)
        if seen & _BLOOD and action in _AGAINST_BLOOD:
            return _AGAINST_BLOOD[action]
        if action == "Vessel Clipping" and seen & _VESSELS:
            return "Work is at the vessels, which may be ready to be closed."
        return f"Work is at the {_target(clip)}. {_REASONS[action]}"
    return {
        "Aspiration": _of_aspiration,
        "Coagulation": _of_coagulation,
        "Dissection": _of_dissection,
        "Tissue Retraction": _of_retraction,
        "Vessel Clipping": _of_clipping,
    }[action](state)


def _of_aspiration(state: VisibleState) -> str:
    return {
        "none": "No blood gathers now.",
        "oozing": "Blood will gather if the oozing goes on.",
        "pooling": "Pooling blood hides the field.",
    }[state.bleeding]


def _of_coagulation(state: VisibleState) -> str:
    return {
        "none": "Nothing bleeds now.",
        "oozing": "Oozing blood must be sealed.",
        "pooling": "The source must be sealed once it is seen.",
    }[state.bleeding]


def _of_dissection(state: VisibleState) -> str:
    if state.progress < COVERED:
        return "Adhesions still hide the gallbladder."
    if state.progress < EXPOSED:
        return "Duct and artery must still be freed."
    if state.progress < DUCT_CLIPPED:
        return "Tissue about the vessels may still be cleared."
    return "The gallbladder is still on the liver." if state.progress < DETACHED else "Nothing is left to dissect."


def _of_retraction(state: VisibleState) -> str:
    return "Tension shows the plane." if state.progress < DETACHED else "The field is looked over."


def _of_clipping(state: VisibleState) -> str:
    if state.progress < EXPOSED:
        return "Duct and artery are not both seen yet."
    if state.progress >= DUCT_CLIPPED:
        return "Duct and artery are clipped already."
    return "Duct and artery are seen." if state.progress == EXPOSED else "The artery is clipped, and the duct is next."


def _target(clip: Clip) -> str:
    """What is worked on longest, in words."""
    known = {name: seconds for name, seconds in clip.targets.items() if name != "null_target"}
    longest = min(known, key=lambda name: (-known[name], name), default="field")
    return longest.replace("_", " ")
