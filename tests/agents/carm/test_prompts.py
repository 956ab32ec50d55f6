"""Prompts of the C-arm's roles: they say what the answer's form is, and carry the picture by reference."""

import re

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage

from loopwright.agents.carm.formats import CENTRED, CORRECTION, Centred, Command, Correction, Ladder, correction_form
from loopwright.agents.carm.prompts import (
    Doubted,
    Previous,
    centred_messages,
    correction_messages,
    estimate_report,
    navigation_messages,
    nearest_messages,
    place_messages,
    previous_report,
    rejected,
    retrieval_messages,
)
from loopwright.errors import BadInput, UnknownName
from loopwright.models.images import image_refs
from loopwright.schema import ImageRef
from loopwright.tools.carm.landmarks import LANDMARKS

IMAGE = ImageRef(sha256="a" * 64, width_px=128, height_px=128)
FIRST = Centred(landmarks=("T1", "Carina"))
SECOND = Correction(landmarks=("Carina", "T12"), visual_reasoning="The trachea divides here.")


def words_of(message: BaseMessage) -> str:
    return message.text


@pytest.mark.parametrize(
    "messages",
    [
        retrieval_messages(IMAGE),
        centred_messages(IMAGE),
        nearest_messages(IMAGE),
        place_messages(IMAGE, "carina"),
        navigation_messages(IMAGE, "Skull"),
        correction_messages(IMAGE, [Doubted(answer=FIRST, objection="incorrect")]),
    ],
)
def test_each_shows_the_picture_once_and_lists_the_landmarks(messages: list[BaseMessage]) -> None:
    assert image_refs(messages) == [IMAGE]
    assert isinstance(messages[0], SystemMessage) and isinstance(messages[-1], HumanMessage)
    assert all(f"{i} {name}" in words_of(messages[0]) for i, name in enumerate(LANDMARKS, start=1))


def test_a_correction_tells_every_answer_and_what_was_said_of_it() -> None:
    doubted = [
        Doubted(answer=FIRST, objection="re-evaluate"),
        Doubted(answer=SECOND, objection="incorrect", words="that is\nthe T12"),
    ]
    messages = correction_messages(IMAGE, doubted)
    assert [type(m) for m in messages[1:]] == [HumanMessage, AIMessage, HumanMessage, AIMessage, HumanMessage]
    assert CENTRED.parse(words_of(messages[2])) == FIRST
    assert CORRECTION.parse(words_of(messages[4])) == SECOND
    assert "re-evaluate" in words_of(messages[3]) and "incorrect" not in words_of(messages[3])
    assert words_of(messages[5]).startswith('The clinician says: "that is the T12" That is incorrect.')
    assert rejected(doubted) == [SECOND]
    with pytest.raises(BadInput, match="a different pair"):
        correction_form(rejected(doubted)).parse(CORRECTION.render(SECOND))


def test_navigation_tells_the_ladder_the_target_and_what_went_before() -> None:
    (_, asked) = navigation_messages(IMAGE, "cranium", ladder=Ladder(small_mm=12.5))
    assert "SMALL is 12.5 mm, MODERATE 50 mm, LARGE 150 mm" in words_of(asked)
    assert words_of(asked).endswith("Target: Skull.")
    command = Command(x="LEFT", extent_x="SMALL", y="CENTER", extent_y="NONE")
    previous = Previous(landmark="T1", command=command)
    (_, asked) = navigation_messages(IMAGE, "Skull", previous=previous, words="that is the carina")
    assert "Previous: T1, moved left small." in words_of(asked)
    assert words_of(asked).endswith('The clinician says: "that is the carina"')
    assert not re.search("  ", words_of(asked))


@pytest.mark.parametrize(
    ("x", "y", "moved"),
    [
        (("RIGHT", "LARGE"), ("UP", "MODERATE"), "moved right large, up moderate"),
        (("CENTER", "NONE"), ("DOWN", "SMALL"), "moved down small"),
        (("CENTER", "NONE"), ("CENTER", "NONE"), "stayed"),
    ],
)
def test_the_step_before_is_told_in_other_words_than_the_estimate(
    x: tuple[str, str], y: tuple[str, str], moved: str
) -> None:
    command = Command.model_validate({"x": x[0], "extent_x": x[1], "y": y[0], "extent_y": y[1]})
    assert previous_report(Previous(landmark="T1", command=command)) == f"Previous: T1, {moved}."


def test_navigation_is_told_what_is_estimated_right_after_the_target() -> None:
    report = estimate_report(33.0, 111.0, 7.6, "in view")
    assert report == "Estimate: x LEFT MODERATE 35 mm, y DOWN LARGE 110 mm, sd 8 mm, in view."
    centred = estimate_report(-2.0, 1.0, 0.2, "expected from T1")
    assert centred == "Estimate: x CENTER, y CENTER, sd 1 mm, expected from T1."
    near = estimate_report(-12.6, -7.6, 3, "in view")
    assert near == "Estimate: x RIGHT SMALL 15 mm, y UP SMALL 10 mm, sd 3 mm, in view."
    fine = estimate_report(-12.6, -2.0, 3, "in view", ladder=Ladder.of([2, 12, 50]))
    assert fine == "Estimate: x RIGHT MODERATE 15 mm, y UP SMALL 5 mm, sd 3 mm, in view."
    (_, asked) = navigation_messages(IMAGE, "Skull", report=report, words="go on")
    assert f"Target: Skull. {report} The clinician" in words_of(asked)


def test_the_nearest_and_a_place_are_asked_for_in_plain_words() -> None:
    assert words_of(nearest_messages(IMAGE)[1]) == "Which landmark is nearest to the centre?"
    told = words_of(nearest_messages(IMAGE, "that is the T12")[1])
    assert told == 'The clinician says: "that is the T12" Which landmark is nearest to the centre?'
    for name, asked in (("L humerus", "left humeral head"), ("t12", "T12"), ("Carina", "carina")):
        assert words_of(place_messages(IMAGE, name)[1]) == f"Where is the {asked}?"


def test_a_target_is_a_landmark() -> None:
    with pytest.raises(UnknownName, match="Did you mean `Skull`"):
        navigation_messages(IMAGE, "Skul")
    with pytest.raises(UnknownName, match="Did you mean `Skull`"):
        place_messages(IMAGE, "Skul")
