"""The surgeon role's answers: round trips, what decoding can and cannot say, repairs, and captions of labels."""

import json
import re
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.models import tiny

from loopwright.agents.role import ask
from loopwright.agents.surgery.formats import (
    ASSESSMENT_CHARS,
    CAPTION,
    CAPTION_CHARS,
    NEXT_ACTION,
    PLAN,
    RATIONALE_CHARS,
    Plan,
    RankedAction,
    caption_of,
    next_action_form,
    plan_form,
)
from loopwright.agents.surgery.history import MemoryView
from loopwright.agents.surgery.prompts import plan_messages
from loopwright.errors import BadInput, DeveloperError
from loopwright.models.answers import TextFormat
from loopwright.models.cards import ModelCard
from loopwright.models.grammar import json_grammar
from loopwright.models.local.chat import LocalChatModel
from loopwright.tools.surgery.clips import Clip
from loopwright.tools.surgery.procedure import BLEEDING, PROGRESS, VisibleState
from loopwright.tools.surgery.vocabulary import ACTIONS, INSTRUMENTS, PHASES, TARGETS, Action

THREE: tuple[Action, Action, Action] = ("Dissection", "Coagulation", "Aspiration")
FORMS: tuple[TextFormat[Any], ...] = (
    PLAN,
    plan_form(THREE, in_order=True),
    plan_form(ACTIONS[1:]),
    NEXT_ACTION,
    next_action_form(THREE),
    CAPTION,
)


def plain(n_chars: int) -> st.SearchStrategy[str]:
    rest = st.text("abcXYZ019 ,.;:'()-", max_size=n_chars - 1)
    return st.builds(lambda first, others: first + others, st.sampled_from("aT1"), rest)


def plan_of(actions: tuple[Action, ...]) -> Plan:
    one, two, three = (RankedAction(action=action, rationale="It fits.") for action in actions)
    return Plan(progress="Half done.", safety="Mind the duct.", actions=(one, two, three))


ranked = [st.builds(RankedAction, action=st.just(action), rationale=plain(RATIONALE_CHARS)) for action in ACTIONS]
three_ranked = st.permutations(ranked).flatmap(lambda order: st.tuples(order[0], order[1], order[2]))
plans = st.builds(Plan, progress=plain(ASSESSMENT_CHARS), safety=plain(ASSESSMENT_CHARS), actions=three_ranked)
seconds = st.integers(1, 30)
clips = st.builds(
    Clip,
    video=st.just("VID01"),
    index=st.just(0),
    action=st.sampled_from(ACTIONS),
    start_s=st.just(0),
    end_s=st.just(29),
    labelled_s=st.just(30),
    phase=st.sampled_from(PHASES),
    instruments=st.dictionaries(st.sampled_from(INSTRUMENTS), seconds),
    targets=st.dictionaries(st.sampled_from(TARGETS), seconds),
)
states = st.builds(VisibleState, progress=st.integers(0, len(PROGRESS) - 1), bleeding=st.sampled_from(BLEEDING))


@given(plan=plans)
def test_a_plan_survives_the_text(plan: Plan) -> None:
    text = PLAN.render(plan)
    assert PLAN.parse(text) == plan
    assert re.fullmatch(PLAN.pattern, text) and len(text) <= PLAN.longest_chars
    repaired = PLAN.repair(f"Here it is:\n```json\n{json.dumps(json.loads(text), indent=2)}\n```")
    assert repaired.ranking == plan.ranking


@settings(max_examples=25)
@given(text=st.from_regex(PLAN.pattern, fullmatch=True))
def test_what_decoding_may_say_of_a_plan_is_strict(text: str) -> None:
    assert len(set(PLAN.parse(text).ranking)) == 3
    assert len(text) <= PLAN.longest_chars


def test_decoding_can_say_any_three_choices_and_no_other() -> None:
    form = plan_form(ACTIONS[1:])
    for three in permutations(ACTIONS, 3):
        text = PLAN.render(plan_of(three))
        assert bool(re.fullmatch(form.pattern, text)) == (ACTIONS[0] not in three)
        if ACTIONS[0] in three:
            with pytest.raises(BadInput, match="'Aspiration' is none of Coagulation"):
                form.parse(text)
        else:
            assert form.parse(text).ranking == three


def test_a_scored_ranking_keeps_its_order() -> None:
    form = plan_form((*THREE, "Vessel Clipping"), in_order=True)
    for three in permutations(THREE):
        text = PLAN.render(plan_of(three))
        assert bool(re.fullmatch(form.pattern, text)) == (three == THREE)
        for read in (form.parse, form.repair):
            if three == THREE:
                assert read(text).ranking == THREE
            else:
                with pytest.raises(BadInput, match="in this order"):
                    read(text)


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_examples_are_strict_and_grammars_are_bounded(form: TextFormat[Any]) -> None:
    assert form.render(form.parse(form.example)) == form.example
    assert re.fullmatch(form.pattern, form.example)
    assert form.grammar().longest_bytes == form.longest_chars


def test_a_plan_is_a_bounded_schema_for_served_models_too() -> None:
    assert json_grammar(Plan).longest_bytes > PLAN.longest_chars


@pytest.mark.parametrize("form", FORMS[:2], ids=("any", "in order"))
def test_a_local_model_keeps_to_the_letter_whatever_its_weights(form: TextFormat[Plan]) -> None:
    card = ModelCard(name="tiny", kind="local", base=str(tiny.folder_of("qwen2.5-vl")))
    reply = ask(LocalChatModel(card=card), plan_messages(MemoryView()), form)
    assert form.parse(reply.text) == reply.value and len(set(reply.value.ranking)) == 3
    assert (reply.is_exact, reply.attempts) == (True, 1)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (PLAN.example.replace(",", ", "), "not of that form"),
        (f"```json\n{PLAN.example}\n```", "Invalid JSON"),
        (PLAN.example.replace("Coagulation", "Aspiration"), "names an action twice"),
        (PLAN.example.replace("Coagulation", "coagulation"), "actions.1.action"),
        (PLAN.example.replace("Coagulation", "Cutting"), "actions.1.action"),
        (PLAN.example.replace('"safety"', '"danger"'), "safety"),
        (PLAN.example.replace("The duct", "The " + "very " * 30 + "duct"), "at most 120"),
        (PLAN.example.replace("The duct", "<b>The duct"), "pattern"),
        (PLAN.example.replace(',"safety"', ',"safety":"None.","safety"'), "not of that form"),
    ],
)
def test_what_is_not_exactly_is_refused(text: str, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        PLAN.parse(text)
    assert re.fullmatch(PLAN.pattern, text) is None


def test_what_means_well_is_repaired() -> None:
    said = {
        "Progress": "Calot's triangle – half\ncleared.",
        "actions": [
            {"rationale": "A “plane” " + "is open " * 30, "Action": "dissection", "rank": 1},
            {"action": "vessel_clipping", "rationale": "Next."},
            {"action": "tissue-retraction", "rationale": "Tension."},
        ],
        "safety": "Mind <the> duct.",
    }
    plan = PLAN.repair(f"Surely! {json.dumps(said)} Good luck.")
    assert plan.progress == "Calot's triangle half cleared." and plan.safety == "Mind the duct."
    assert plan.ranking == ("Dissection", "Vessel Clipping", "Tissue Retraction")
    first = plan.actions[0].rationale
    assert first.startswith("A plane is open") and first.endswith(("is", "open")) and len(first) <= RATIONALE_CHARS
    assert NEXT_ACTION.repair(" vessel clipping. ") == "Vessel Clipping"
    assert CAPTION.repair("**Hook** at the\nplate…") == "Hook at the plate"


@pytest.mark.parametrize(
    ("form", "text"),
    [
        (PLAN, "Dissection, Coagulation, Aspiration"),
        (PLAN, "{not json}"),
        (PLAN, '{"progress":"a","safety":"b","actions":[]}'),
        (PLAN, '{"progress":"a","safety":"b","actions":["Dissection","Coagulation","Aspiration"]}'),
        (PLAN, PLAN.example.replace("Coagulation", "Suturing")),
        (PLAN, PLAN.example.replace("Coagulation", "dissection")),
        (PLAN, PLAN.example.replace('"safety":"Keep off the bile duct."', '"safety":["Keep off"]')),
        (PLAN, PLAN.example.replace("Keep off the bile duct.", "...")),
        (NEXT_ACTION, "Dissection or Coagulation"),
        (CAPTION, " ... "),
    ],
)
def test_what_cannot_be_told_is_not_guessed(form: TextFormat[Any], text: str) -> None:
    with pytest.raises(BadInput, match=f"is no `{form.name}`"):
        form.repair(text)


@pytest.mark.parametrize("choices", [(), THREE[:2], (*THREE, THREE[0])])
def test_choices_are_three_different_ones(choices: tuple[Action, ...]) -> None:
    with pytest.raises(DeveloperError, match="at least 3 actions, each once"):
        plan_form(choices)


@given(clip=clips, state=st.none() | states)
def test_the_caption_of_labels_is_one_and_tells_nothing_of_the_action(clip: Clip, state: VisibleState | None) -> None:
    caption = caption_of(clip, state)
    assert CAPTION.parse(caption) == caption and len(caption) <= CAPTION_CHARS
    assert state is None or caption.startswith(f"Seen: {PROGRESS[state.progress]}")
    for action, phase in zip(ACTIONS, PHASES, strict=False):
        other = clip.model_copy(update={"action": action, "phase": phase, "index": 7, "start_s": 70, "end_s": 99})
        assert caption_of(other, state) == caption


def test_a_caption_names_what_is_longest_in_view_first() -> None:
    clip = Clip(
        video="VID01",
        index=0,
        action="Dissection",
        start_s=0,
        end_s=9,
        labelled_s=10,
        instruments={"grasper": 4, "hook": 10},
        targets={"cystic_plate": 10, "null_target": 1},
    )
    said = "Instruments: hook, briefly grasper. Targets: cystic plate, briefly nothing."
    assert caption_of(clip) == said
    seen = VisibleState(progress=PROGRESS.index("duct partly exposed"), bleeding="oozing")
    assert caption_of(clip, seen) == f"Seen: duct partly exposed, oozing blood. {said}"
    blind = clip.model_copy(update={"instruments": {}, "targets": {}})
    assert caption_of(blind) == "Instruments: none. Targets: none."
