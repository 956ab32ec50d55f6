"""The model as navigator: what it is told, what its answer becomes, and when the atlas takes over."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.agents.asking import ModelAsker
from tests.graphs.carm.reports import reported_estimate

from loopwright.agents.carm.chat_navigator import ChatNavigator, report_of
from loopwright.agents.carm.formats import NAVIGATION, Command, Ladder, Navigation
from loopwright.agents.carm.navigator import AtlasNavigator, Decision, Estimate, Sighting, Situation
from loopwright.agents.carm.prompts import Previous
from loopwright.models.networks.localisation import Localisation
from loopwright.models.scripted import ScriptedChatModel
from loopwright.schema import ImageRef
from loopwright.tools.carm.geometry import Pose
from loopwright.tools.carm.landmarks import LANDMARKS

VIEW_MM = 154.8
FAR = (400.0, 400.0)


def situation(target: str, offsets: dict[str, tuple[float, float]], **more: object) -> Situation:
    """Some landmarks where `offsets` says, all others far away and unsure."""
    seen = Localisation(
        nearest={n: 1.0 if n in offsets else 0.0 for n in LANDMARKS},
        offsets_mm={n: offsets.get(n, FAR) for n in LANDMARKS},
        sigma_mm={n: 5.0 if n in offsets else 1e6 for n in LANDMARKS},
    )
    image = ImageRef(sha256="a" * 64, width_px=128, height_px=128)
    limits = {"field_of_view_mm": VIEW_MM, "max_step_mm": 150.0, "arrival_radius_mm": 7.5}
    given = {"target": target, "pose": Pose(x_mm=0, y_mm=0, z_mm=0), "localisation": seen, "image": image}
    return Situation.model_validate({**given, **limits, **more})


def saying(left_mm: float, caudal_mm: float) -> str:
    command = Ladder().command(left_mm, caudal_mm)
    return NAVIGATION.render(Navigation(context="Carina", reason_x="Ribs.", reason_y="Spine.", **command.model_dump()))


def decide(at: Situation, *replies: str, is_told: bool = True) -> tuple[Decision, list[str]]:
    """The decision, and what was asked for it."""
    with ScriptedChatModel(replies=replies) as model:
        decision = ChatNavigator(is_told=is_told).decide(at, ModelAsker(model))
    return decision, [prompt[-1].text for prompt in model.prompts]


def is_instead(decision: Decision, at: Situation) -> bool:
    """Whether it is the atlas navigator's own, and says that the model was not believed."""
    atlas = AtlasNavigator().decide(at)
    return decision == atlas.model_copy(update={"rationale": f"not there yet: {atlas.rationale}"})


def test_a_command_becomes_a_motion_of_the_ladder() -> None:
    decision, (asked,) = decide(situation("T12", {"T12": (-20.0, 52.0)}), saying(-20, 52))
    assert (decision.motion.left_mm, decision.motion.caudal_mm) == (-15, 50)
    assert (decision.source, decision.arrived, decision.rationale) == ("model", False, "Ribs. Spine.")
    assert (decision.distance_mm, decision.sd_mm) == (55.7, 5)
    command = Command(x="RIGHT", extent_x="SMALL", y="DOWN", extent_y="MODERATE")
    assert decision.said == Previous(landmark="Carina", command=command)
    assert "Target: T12. Estimate: x RIGHT SMALL 20 mm, y DOWN MODERATE 50 mm, sd 5 mm, in view." in asked
    assert Decision.model_validate(decision.model_dump(mode="json")) == decision


def test_the_picture_may_know_better_than_the_estimate_where_to_go() -> None:
    decision, _ = decide(situation("T12", {"T12": (20.0, 0.0)}), saying(-15, 50))
    assert (decision.motion.left_mm, decision.motion.caudal_mm, decision.source) == (-15, 50, "model")


@pytest.mark.parametrize(
    ("offset_mm", "is_believed"), [((7.0, 0.0), True), ((8.0, 0.0), False), ((7.0, 7.0), False), ((60.0, 0.0), False)]
)
def test_a_claim_to_be_there_is_believed_within_the_radius_of_arrival(
    offset_mm: tuple[float, float], is_believed: bool
) -> None:
    at = situation("T12", {"T12": offset_mm})
    decision, _ = decide(at, saying(0, 0))
    assert (decision.arrived, decision.source) == (is_believed, "model" if is_believed else "in view")
    assert is_believed or is_instead(decision, at)


def test_who_is_told_no_estimate_is_believed() -> None:
    decision, _ = decide(situation("T12", {"T12": (60.0, 0.0)}), saying(0, 0), is_told=False)
    assert decision.arrived and decision.motion.length_mm == 0


def test_what_is_out_of_view_is_not_reached() -> None:
    at = situation("T12", {"T1": (0.0, 0.0)})
    decision, _ = decide(at, saying(0, 0))
    assert is_instead(decision, at) and not decision.arrived


def test_it_may_be_left_to_the_picture_alone() -> None:
    _, (asked,) = decide(situation("T12", {"T12": (20.0, 0.0)}), saying(20, 0), is_told=False)
    assert "Estimate" not in asked


def test_the_step_before_and_the_clinicians_words_are_told() -> None:
    before = Previous(landmark="T1", command=Command(x="LEFT", extent_x="SMALL", y="CENTER", extent_y="NONE"))
    at = situation("T12", {"T1": (0.0, 0.0)}, previous=before, words="that is the T1")
    _, (asked,) = decide(at, saying(0, 150))
    assert "expected from T1, the whole picture. Previous: T1, moved left small." in asked
    assert asked.endswith('The clinician says: "that is the T1"')


def test_after_a_refusal_the_atlas_halves_its_steps_and_no_model_is_asked() -> None:
    at = situation("T12", {"T12": (40.0, 0.0)}, refusals=("envelope",))
    decision, asked = decide(at)
    assert asked == [] and decision == AtlasNavigator().decide(at)
    assert decision.motion.left_mm == 20 and decision.said is None


def test_a_lost_wrist_is_looked_for_along_the_arm() -> None:
    at = situation("Left wrist", {"T1": (0.0, 0.0), "Left humeral head": (140.0, 0.0)})
    decision, (asked,) = decide(at, saying(140, 0))
    assert "Target: Left humeral head. Estimate: x LEFT LARGE 140 mm" in asked
    assert decision.target == "Left wrist"
    assert decision.rationale == "by way of Left humeral head: Ribs. Spine."
    assert decision.towards == "Left humeral head"


def test_nothing_is_reached_on_the_way() -> None:
    at = situation("Left wrist", {"T1": (0.0, 0.0), "Left humeral head": (140.0, 0.0)})
    decision, _ = decide(at, saying(0, 0))
    assert is_instead(decision, at)
    assert not decision.arrived and decision.motion.length_mm > 0


estimates = st.builds(
    Estimate,
    st.tuples(st.floats(-600, 600), st.floats(-600, 600)).map(np.array),
    st.floats(0.5, 300),
    st.sampled_from(["in view", "atlas", "clinician"]),
    st.just("why"),
    st.lists(st.sampled_from([*LANDMARKS, "the whole picture", "an earlier picture (1)"]), max_size=3).map(tuple),
)


@given(estimates)
def test_an_estimate_is_told_in_the_words_of_training(estimate: Estimate) -> None:
    sources = "|".join([*LANDMARKS, "the whole picture", "earlier pictures"])
    told = reported_estimate(report_of(estimate, VIEW_MM, Ladder()))
    assert told
    for offset_mm, told_mm in zip(estimate.offset_mm, (told.left_mm, told.caudal_mm), strict=True):
        assert abs(offset_mm - told_mm) <= (2.5 if told_mm else 7.5)  # CENTER: the least step would lead past it
    assert told.sd_mm == max(1, round(estimate.sd_mm))
    assert re.fullmatch(rf"in view|expected from (?:{sources})(?:, (?:{sources}))*", told.basis)


@pytest.mark.parametrize("ladder", [Ladder(), Ladder.of((25, 75, 150))])
def test_following_what_it_is_told_ends_at_the_target(ladder: Ladder) -> None:
    offset = np.array([-130.0, 290.0])
    while True:
        command = ladder.command(*offset)
        answer = Navigation(context="T1", reason_x="a", reason_y="b", **command.model_dump())
        asker = ModelAsker(ScriptedChatModel(replies=(NAVIGATION.render(answer),)))
        at = situation("T12", {"T12": (float(offset[0]), float(offset[1]))})
        decision = ChatNavigator(ladder=ladder).decide(at, asker)
        if decision.arrived:
            break
        offset = offset - [decision.motion.left_mm, decision.motion.caudal_mm]
    assert np.abs(offset).max() <= ladder.small_mm / 2


def test_sightings_count_in_what_is_told() -> None:
    before = (Sighting(landmark="T12", x_mm=0, z_mm=-100, sd_mm=4),)
    _, (asked,) = decide(situation("T12", {"T1": (0.0, 0.0)}, sightings=before), saying(0, 100))
    assert re.search(r"Estimate: .*, expected from earlier pictures, T1, ", asked)
