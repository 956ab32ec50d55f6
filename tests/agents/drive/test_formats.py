"""The driver's answer: exact, repaired, refused; with any of its parts; and what it is asked."""

import re
from itertools import combinations

import pytest
from tests.agents.drive.scenes import car, scene

from loopwright.agents.drive.formats import DECISION, EXAMPLE, FRAME, MASKED, N_VISUAL, PARTS, Part, drive_form
from loopwright.agents.drive.perception import agents_seen, risk_words
from loopwright.agents.drive.prompts import Asked, Shown, again_messages, drive_messages, frame_messages
from loopwright.errors import BadInput, DeveloperError
from loopwright.schema import ImageRef

ALL = [parts for n in range(1, 7) for parts in combinations(PARTS, n)]
TEXT = (
    "<perception>ahead 22 -6</perception><prediction>300 2</prediction><think>ahead closes in 3.5 s</think>"
    "<action>slower</action><answer>95 0,185 0,270 0,350 0,425 0,495 -1</answer>"
)


@pytest.mark.parametrize("parts", ALL, ids="+".join)
def test_an_answer_of_any_parts_reads_as_it_is_written(parts: tuple[Part, ...]) -> None:
    form = drive_form(parts)
    text = form.render(EXAMPLE)
    assert {name for name, value in form.parse(text) if value is not None} == set(parts)
    assert form.render(form.parse(text)) == text
    assert re.fullmatch(form.pattern, text)
    assert len(text) <= form.longest_chars


@pytest.mark.parametrize("parts", [PARTS, MASKED, DECISION, FRAME], ids=len)
def test_each_way_to_run_has_a_grammar(parts: tuple[Part, ...]) -> None:
    drive_form(parts).grammar()


@pytest.mark.parametrize("parts", [(), ("answer", "think"), ("plan",)])
def test_parts_come_in_one_order(parts: tuple[Part, ...]) -> None:
    with pytest.raises(DeveloperError, match="in this order"):
        drive_form(parts)


def test_tenths_of_a_metre_are_metres_inside() -> None:
    found = drive_form(MASKED).parse(TEXT)
    assert found.prediction == (30.0, 0.2)
    assert found.answer is not None
    assert found.answer[-1] == (49.5, -0.1)


def test_another_models_words_are_repaired() -> None:
    found = drive_form(MASKED).repair(
        "Sure!\n<Perception>A car is ahead 22 -6, I think.</Perception>\n<prediction>(30.0, 0.2)</prediction>\n"
        "<think>It *may* brake!</think> <action>Slower.</action>\n"
        "<answer>[(9.5, 0.0), (18.5, 0), (27, 0), (35, .0), (42.5, 0), (49.5, -0.1)]</answer>"
    )
    assert found == drive_form(MASKED).parse(TEXT).model_copy(update={"think": "It may brake"})


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("slower", "slower or faster"),
        ("slower", "wait and see"),
        ("495 -1", "495"),
        (",495 -1", ""),
        ("495 -1", "nan 0.0"),
        ("495 -1", "1e9 0"),
        ("<answer>", "<answers>"),
        ("</think>", "</think><think>twice</think>"),
        ("300 2", "somewhere"),
    ],
)
def test_what_cannot_be_read_is_refused(old: str, new: str) -> None:
    text = TEXT.replace(old, new)
    form = drive_form(MASKED)
    for read in (form.parse, form.repair):
        with pytest.raises(BadInput, match="drive answer"):
            read(text)


@pytest.mark.parametrize("codes", [N_VISUAL - 1, N_VISUAL + 1])
def test_a_frame_of_another_size_is_refused(codes: int) -> None:
    text = f"<visual>{'<|v1|>' * codes}</visual>"
    with pytest.raises(BadInput, match="64 tokens"):
        drive_form(FRAME).parse(text)


def test_a_code_beyond_the_codebook_is_refused() -> None:
    text = drive_form(FRAME).render(EXAMPLE.model_copy(update={"visual": (256,) * N_VISUAL}))
    assert drive_form(FRAME).parse(text).visual == (256,) * N_VISUAL
    with pytest.raises(BadInput, match="there are 256"):
        drive_form(FRAME, 256).parse(text)


def test_the_nearest_at_each_place_is_seen() -> None:
    moment = scene(
        car(20, 0.3, 14), car(40, 0), car(-5, -4, 22), car(3, 8), car(30, 20, 0, yaw_rad=-1.57, vy_mps=-10), car(70, 4)
    )
    seen = agents_seen(moment)
    assert [(one.where, one.gap_m, one.speed_mps) for one in seen] == [
        ("right", -5, 2),
        ("ahead", 20, -6),
        ("from left", 36, -22),
    ]
    assert drive_form(("perception",)).parse(drive_form(("perception",)).render(EXAMPLE)).perception
    assert risk_words(seen) == "from left closes in 1.5 s, left is free"


@pytest.mark.parametrize(
    "agents", [(), (car(6, 0),), (car(12, 0, 0), car(0, 4), car(0, -4)), (car(-8, 0, 30),), (car(60, 0, 19),)]
)
def test_the_sentences_of_risk_are_in_the_grammar(agents: tuple) -> None:  # type: ignore[type-arg]
    form = drive_form(("perception", "think"))
    seen = agents_seen(scene(*agents))
    text = form.render(EXAMPLE.model_copy(update={"perception": seen, "think": risk_words(seen)}))
    assert re.fullmatch(form.pattern, text)


def test_the_prompt_names_axes_units_view_and_horizon() -> None:
    asked = Asked(horizon_s=1.5, view="FL", expected=(30.0, 0.2), words="let him in")
    shown = [Shown(view="top", image=ImageRef(sha256="0" * 64, width_px=128, height_px=128))]
    system, human = drive_messages(scene(car(20, 0)), shown, asked)
    assert "x forward, y left" in system.text
    assert "0.1 m" in system.text
    for part in ("View FL at +1.5 s, expected at 300 2.", "let him in", "Past -400 0,-300 0,-200 0,-100 0."):
        assert part in human.text
    assert "ahead 20" not in human.text
    alone = frame_messages(shown, asked)[-1].text
    assert "View FL at +1.5 s" in alone
    assert "Past" not in alone


def test_without_pictures_the_road_users_are_told() -> None:
    human = drive_messages(scene(car(20, 0, 14)), (), Asked(is_told=True))[-1]
    assert "Road users: ahead 20 -6." in human.text
    again = again_messages([human], "<think>clear</think>", "it hits the car ahead")
    assert [message.type for message in again] == ["human", "ai", "human"]
    assert "it hits the car ahead" in again[-1].text
