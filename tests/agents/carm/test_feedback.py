"""A clinician's words: STOP generously, everything else in full or clarified, never guessed into a motion."""

import json
import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from loopwright.agents.carm.feedback import LANGUAGE, Identify, MoveView, NotThere, Retarget, parse_feedback
from loopwright.agents.feedback import is_stop
from loopwright.schema import Approve, Note, Reject, Stop, Unclear
from loopwright.tools.carm.geometry import Pose
from loopwright.tools.carm.guard import Direction
from loopwright.tools.carm.landmarks import LANDMARKS, SYNONYMS

DIRECTIONS: tuple[Direction, ...] = ("cranial", "caudal", "left", "right", "anterior", "posterior")

unhurried = settings(deadline=None)  # the machine may be busy; how long a text takes is no law here


class TestStop:
    @pytest.mark.parametrize(
        "text",
        [
            *("stop", "STOP!", "Stop.", "please stop now", "stop it", "can you stop?", "no, stop", "ＳＴＯＰ"),
            *("halt", "HALT!!", "freeze", "abort", "emergency", "hold it", "hold still", "wait", "Wait!", "e-stop"),
            *("stooop", "STOPP", "stopstop", "s t o p", "S.T.O.P.", "stpo", "sotp", "\ufeffstop", "*stop*"),
            *("don't move", "do not move the arm", "stay there", "stop moving left", "go 20 mm left no stop"),
            *("don't, stop!", "don't go on. stop", "don't stop? no, stop!", "note: stop at T12", "reject: stop this"),
            *("the target is T12, stop there", "did it not stop?", "stop" + " x" * 2000),
        ],
    )
    def test_is_heard_generously(self, text: str) -> None:
        assert is_stop(text)
        assert parse_feedback(text) == Stop()

    @pytest.mark.parametrize(
        "text",
        [
            *("don't stop", "Don’t stop!", "do not stop", "dont stop", "never stop", "non-stop", "nonstop"),
            *("it stopped", "unstoppable", "shop", "top", "the patient's topography", "", "go on", "halter", "holding"),
            *("wait for the contrast", "20 mm left", "that is the carina", "is to proceed"),
        ],
    )
    def test_is_not_heard_where_nobody_said_it(self, text: str) -> None:
        assert not is_stop(text)
        assert parse_feedback(text) != Stop()

    @unhurried
    @given(before=st.text(max_size=60), after=st.text(max_size=60), word=st.sampled_from(["stop", "halt", "abort"]))
    @example(before="don't", after="", word="stop")
    def test_in_any_surroundings_unless_they_deny_it(self, before: str, after: str, word: str) -> None:
        denied = re.search(r"(non|don'?t|do not|must not|never|no need to|without a)\W*$", before.lower())
        assert denied or is_stop(f"{before} {word} {after}")

    @unhurried
    @given(st.text(max_size=300))
    def test_parsing_and_is_stop_agree(self, text: str) -> None:
        assert is_stop(text) == isinstance(parse_feedback(text), Stop)


@pytest.mark.parametrize(
    "text",
    [
        "approve",
        "Approved.",
        "yes",
        "Yes please",
        "y",
        "ok",
        "OK, go ahead",
        "okay",
        "go ahead",
        "that is correct",
        "do it",
    ],
)
def test_approval(text: str) -> None:
    assert parse_feedback(text) == Approve()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("no", ""),
        ("Wrong!", ""),
        ("not that", ""),
        ("that's wrong", ""),
        ("no, too far", "too far"),
        ("No because the Arm is there", "the Arm is there"),
        ("reject: too dark", "too dark"),
        ("Incorrect, look again", "look again"),
        ("reject: yes", "yes"),
        ("that is not the carina", "that is not the carina"),
        ("reject: " + "x" * 900, "x" * 500),
    ],
)
def test_rejection_keeps_the_reason_as_it_was_said(text: str, reason: str) -> None:
    assert parse_feedback(text) == Reject(reason=reason)


@pytest.mark.parametrize(
    ("text", "direction", "distance_mm"),
    [
        ("go 20 mm cranial", "cranial", 20),
        ("left 2 cm", "left", 20),
        ("20mm left", "left", 20),
        ("Move the view 3 centimetres to the patient's right, please.", "right", 30),
        ("shift the C-arm up by 15 millimeters", "cranial", 15),
        ("another 5 mm down", "caudal", 5),
        ("10 mm towards the head", "cranial", 10),
        ("10 mm to the feet", "caudal", 10),
        ("2.5 cm anteriorly", "anterior", 25),
        ("2,5 cm dorsal", "posterior", 25),
        ("half a cm left", "left", 5),
        ("1/2 cm left", "left", 5),
        ("1 1/2 cm left", "left", 15),
        ("one and a half cm left", "left", 15),
        ("three quarters of a cm left", "left", 7.5),
        ("twenty mm in the cranial direction", "cranial", 20),
        ("300 mm inferior", "caudal", 300),
        ("Could you go 20 mm left?", "left", 20),
    ],
)
def test_motions(text: str, direction: str, distance_mm: float) -> None:
    said = parse_feedback(text)
    assert isinstance(said, MoveView)
    assert said.direction == direction
    assert said.distance_mm == pytest.approx(distance_mm)


def test_a_motion_moves_the_view_that_way() -> None:
    pose = Pose(x_mm=0, y_mm=0, z_mm=0)
    moves = (MoveView(direction=direction, distance_mm=10) for direction in DIRECTIONS)
    assert {move.direction: move.motion.applied_to(pose).isocentre_world.tolist() for move in moves} == {
        "cranial": [0, 0, 10],
        "caudal": [0, 0, -10],
        "left": [-10, 0, 0],
        "right": [10, 0, 0],
        "anterior": [0, 10, 0],
        "posterior": [0, -10, 0],
    }


@pytest.mark.parametrize(
    ("text", "asks"),
    [
        ("approve?", "Then send `approve`"),
        ("OK ?!", "Then send `approve`"),
        ("can you confirm?", "Then send `approve`"),
        ("go 20 mm left?", "without the question mark"),
        ("that is the T12？", "without the question mark"),
        ("left", "How far left"),
        ("go left a bit", "How far left"),
        ("go to the left", "How far left"),
        ("20 mm", "Which way"),
        ("left 20", "Millimetres or centimetres"),
        ("go 20 left", "Millimetres or centimetres"),
        ("20 mm left and 30 mm up", "send `20 mm left`, then `30 mm up`"),
        ("20 mm left, 30 mm right", "One motion a message"),
        ("-20 mm left", "A distance is positive"),
        ("0 mm left", "more than 0 and at most 300 mm"),
        ("1/0 mm left", "more than 0 and at most 300 mm"),
        ("301 mm left", "at most 300 mm"),
        ("9" * 400 + " mm left", "at most 300 mm"),
        ("that's right", "say `approve`"),
        ("no, go 20 mm left", "two things"),
        ("yes, go 20 mm left", "two things"),
        ("no, yes", "two things"),
        ("that is the humeral head", "`Right humeral head` or `Left humeral head`"),
        ("go to the elbow", "`Right elbow` or `Left elbow`"),
        ("go to the knee", "Unknown landmark 'knee'"),
        ("the target is the carena", "Did you mean `Carina`"),
        ("T12", "`the target is T12` to go there"),
        ("x" * 2001, "longer than 2000"),
        ("", "You can say"),
        ("20 inches left", "You can say"),
        ("1,000 mm left", "You can say"),
        ("5 mm left right", "You can say"),
        ("the bone looks odd", "You can say"),
        ("yes no", "You can say"),
    ],
)
def test_what_is_unclear_is_clarified(text: str, asks: str) -> None:
    said = parse_feedback(text)
    assert isinstance(said, Unclear), said
    assert asks in said.question
    assert said.text == text[:2000]


@pytest.mark.parametrize(
    ("text", "landmark"),
    [
        ("that is the left humeral head", "Left humeral head"),
        ("That's T12.", "T12"),
        ("this is actually the carina", "Carina"),
        ("no, that's the right elbow", "Right elbow"),
        ("you are looking at the tracheal bifurcation", "Carina"),
        ("I see the wrist, left", "Left wrist"),
    ],
)
def test_identifications(text: str, landmark: str) -> None:
    assert parse_feedback(text) == Identify(landmark=landmark)


@pytest.mark.parametrize(
    ("text", "landmark"),
    [
        ("the target is T12", "T12"),
        ("target: t12", "T12"),
        ("the target is now the left elbow", "Left elbow"),
        ("go to the carina", "Carina"),
        ("please take me to the skull", "Skull"),
        ("show me the right shoulder blade tip", "Right scapular inferior angle"),
        ("head towards the left wrist", "Left wrist"),
        ("go to the left wrist", "Left wrist"),
    ],
)
def test_new_targets(text: str, landmark: str) -> None:
    assert parse_feedback(text) == Retarget(landmark=landmark)


@pytest.mark.parametrize("name", LANDMARKS)
def test_every_synonym_is_understood(name: str) -> None:
    for word in (name, *SYNONYMS[name]):
        assert parse_feedback(f"that is the {word}") == Identify(landmark=name)
        assert parse_feedback(f"the target is the {word.upper()}") == Retarget(landmark=name)


def test_notes_are_kept_as_they_were_written() -> None:
    assert parse_feedback("Note: Patient Coughs, 20 mm left") == Note(text="Patient Coughs, 20 mm left")
    assert parse_feedback("remark: go to T12") == Note(text="go to T12")


WORDS = st.sampled_from(
    [
        *("go", "move", "left", "right", "up", "down", "cranial", "20", "2.5", "-3", "mm", "cm", "half", "a", "and"),
        *("no", "yes", "that", "is", "the", "not", "target", "T12", "carina", "elbow", "to", ",", ".", ":", "wrong"),
        *("reject", "note", "please", "one", "1/2", "1/0"),
    ]
)


@unhurried
@given(st.one_of(st.text(max_size=400), st.lists(WORDS, max_size=12).map(" ".join)))
def test_any_text_gives_a_value_that_survives_json(text: str) -> None:
    said = parse_feedback(text)
    assert isinstance(said, BaseModel)
    assert LANGUAGE.load(json.loads(json.dumps(LANGUAGE.dump(said)))) == said


NUMBERS = re.compile(
    r"\d|zero|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|"
    r"seventeen|eighteen|nineteen|twenty|half|quarter"
)


@unhurried
@given(st.one_of(st.text(max_size=60), st.lists(WORDS, max_size=10).map(" ".join)))
def test_no_number_no_motion(text: str) -> None:
    if not NUMBERS.search(text.lower()):
        assert not isinstance(parse_feedback(text), MoveView)


@unhurried
@given(direction=st.sampled_from(DIRECTIONS), tenths=st.integers(1, 3000), name=st.sampled_from(LANDMARKS))
def test_the_examples_hold_for_every_direction_and_landmark(direction: Direction, tenths: int, name: str) -> None:
    move = parse_feedback(f"{tenths / 10:.15g} mm {direction}")
    assert move == MoveView(direction=direction, distance_mm=tenths / 10)
    assert isinstance(move, MoveView) and move.order() == ("move_c_arm", move.motion.model_dump())
    assert parse_feedback(f"that is the {name}") == Identify(landmark=name)
    assert parse_feedback(f"the target is {name}") == Retarget(landmark=name)


@pytest.mark.parametrize("distance_mm", [0, -1, 301, float("nan"), float("inf")])
def test_distances_are_finite_and_positive(distance_mm: float) -> None:
    with pytest.raises(ValidationError):
        MoveView(direction="left", distance_mm=distance_mm)


class TestNotThere:
    @pytest.mark.parametrize(
        "text",
        [
            *("it is not there", "It's not here.", "not found", "the target is not there", "nowhere to be found"),
            *("this is another part of the body", "that's a different region", "it is unknown anatomy", "give up"),
        ],
    )
    def test_is_read(self, text: str) -> None:
        assert parse_feedback(text) == NotThere()

    @pytest.mark.parametrize(
        "text", ["it is not", "it is not the carina", "not sure", "it is there", "T12 is not there"]
    )
    def test_is_not_guessed(self, text: str) -> None:
        assert parse_feedback(text) != NotThere()
