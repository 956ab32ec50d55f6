"""What a surgeon may say, what it means, and what is clarified."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.agents.sessions.language import FeedbackLanguage
from loopwright.agents.surgery.feedback import FEEDBACK, Aim, Deny, Prefer, Remark
from loopwright.schema import Act, Approve, Frozen, Note, Reject, Stop, Unclear
from loopwright.tools.surgery.vocabulary import ACTIONS, Action

BLEEDS = "it is bleeding"
LANGUAGE = FeedbackLanguage(FEEDBACK)
VERBS: dict[Action, str] = {
    "Aspiration": "aspirate",
    "Coagulation": "coagulate",
    "Dissection": "dissect",
    "Tissue Retraction": "retract",
    "Vessel Clipping": "clip",
}


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("No, it is bleeding, coagulate first!", Prefer(action="Coagulation", is_correction=True, reason=BLEEDS)),
        ("coagulate", Prefer(action="Coagulation")),
        ("Please coagulate the liver bed first", Prefer(action="Coagulation")),
        ("first aspirate", Prefer(action="Aspiration")),
        ("the next action is vessel clipping", Prefer(action="Vessel Clipping")),
        ("clip the cystic artery now", Prefer(action="Vessel Clipping")),
        ("Clip duct and artery", Prefer(action="Vessel Clipping", reason="artery")),
        ("we should retract the gallbladder", Prefer(action="Tissue Retraction")),
        ("could you dissect the plane?", Prefer(action="Dissection")),
        ("could you dissect the plane, please", Prefer(action="Dissection")),
        ("don't clip yet, dissect", Prefer(action="Dissection", denied=("Vessel Clipping",))),
        ("the clips slipped, so coagulate", Prefer(action="Coagulation", reason="the clips slipped")),
        ("do not clip yet", Deny(denied=("Vessel Clipping",))),
        ("no clipping, the duct is covered", Deny(denied=("Vessel Clipping",), reason="the duct is covered")),
        ("no more coagulation here", Deny(denied=("Coagulation",))),
        ("not clipping", Deny(denied=("Vessel Clipping",))),
        ("no", Reject()),
        ("no, it is bleeding", Reject(reason=BLEEDS)),
        ("reject: too early", Reject(reason="too early")),
        ("It is bleeding.", Remark(text=BLEEDS)),
        ("the goal is that the duct is clipped", Aim(goal="the vessels are clipped")),
        ("approve", Approve()),
        ("STOP", Stop()),
        ("stop the bleeding", Stop()),
        ("note: small stone", Note(text="small stone")),
    ],
)
def test_words_mean(text: str, meaning: Frozen) -> None:
    assert LANGUAGE.parse(text) == meaning


@pytest.mark.parametrize(
    "text",
    [
        "aspirate, then coagulate",
        "coagulate, do not coagulate",
        "no coagulate first",  # a comma lacks, or a word: the one means the opposite of the other
        "not coagulate",
        "clip if the duct is seen",
        "coagulation is done",
        "the clip slipped",
        "coagulate before clipping",
        "approve?",
        "coagulate?",
        "is it oozing?",
        "no, coagulate first?",
        "hurry up",
        "the goal is to be done",
        "coagulate, " + "x" * 400,
    ],
)
def test_what_could_mean_several_things_is_clarified(text: str) -> None:
    found = LANGUAGE.parse(text)
    assert isinstance(found, Unclear)
    assert found.question


@given(st.text(max_size=80))
def test_any_text_is_read(text: str) -> None:
    found = LANGUAGE.parse(text)
    assert LANGUAGE.load(LANGUAGE.dump(found)) == found


@given(
    st.sampled_from(ACTIONS),
    st.lists(st.sampled_from(ACTIONS), unique=True, max_size=2),
    st.booleans(),
    st.sampled_from(["", BLEEDS, "the duct is covered"]),
)
def test_a_clause_for_each_action_is_read(
    action: Action, denied: list[Action], is_correction: bool, reason: str
) -> None:
    others: tuple[Action, ...] = tuple(each for each in denied if each != action)
    not_these = [f"do not {VERBS[other]}" for other in others]
    clauses = [*(["no"] if is_correction else []), *filter(None, [reason]), *not_these, f"{VERBS[action]} first"]
    meaning = Prefer(action=action, denied=others, is_correction=is_correction, reason=reason)
    assert LANGUAGE.parse(", ".join(clauses)) == meaning
    if others:
        assert LANGUAGE.parse(", ".join([*not_these, *filter(None, [reason])])) == Deny(denied=others, reason=reason)


def test_a_named_action_orders_what_begins_with_it_and_nothing_else() -> None:
    said = Prefer(action="Coagulation")
    plan = {"actions": ["Coagulation", "Dissection", "Aspiration"]}
    assert said.orders(Act(tool="record_plan", arguments=plan))
    assert said.orders(Act(tool="next_clip", arguments={"instead": "Coagulation"}))
    assert not said.orders(Act(tool="record_plan", arguments={"actions": plan["actions"][::-1]}))
    assert not said.orders(Act(tool="next_clip"))
    assert not Deny(denied=("Coagulation",)).orders(Act(tool="next_clip"))
