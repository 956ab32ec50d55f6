"""What a passenger says, and what becomes of it."""

import pytest

from loopwright.agents.drive.feedback import FEEDBACK, SLOWEST, YIELD_S, Wishes
from loopwright.agents.sessions.language import FeedbackLanguage

LANGUAGE = FeedbackLanguage(FEEDBACK)


def words(text: str) -> tuple[dict, str]:  # type: ignore[type-arg]
    """A message as the loop hears it."""
    return LANGUAGE.dump(LANGUAGE.parse(text)), text


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Slower, please!", "slower"),
        ("could you slow down a bit?", "slower"),
        ("That's too fast", "slower"),
        ("a little faster", "faster"),
        ("let him in", "let_in"),
        ("Let the car on the left merge", "let_in"),
        ("make room", "let_in"),
        ("turn left at the next crossing", "head"),
        ("move over to the right lane", "head"),
        ("take the next exit", "take_exit"),
        ("keep your lane", "keep_lane"),
        ("go straight on", "keep_lane"),
        ("brake!", "brake"),
        ("hit the brakes now", "brake"),
        ("drive on", "drive_on"),
        ("stop", "stop"),
        ("emergency brake", "stop"),
        ("slower, stop!", "stop"),
        ("go ahead", "approve"),
    ],
)
def test_words_are_read(text: str, kind: str) -> None:
    assert words(text)[0]["kind"] == kind


@pytest.mark.parametrize("text", ["slower?", "left", "let him", "drive over there", "ram him", "go left and faster"])
def test_what_is_not_understood_is_asked_about(text: str) -> None:
    assert words(text)[0]["kind"] == "unclear"


def test_examples_say_what_they_stand_for() -> None:
    for each in FEEDBACK:
        assert [type(LANGUAGE.parse(text)) for text in each.examples] == [each]


def test_wishes_add_up() -> None:
    wishes = Wishes().heard([words("slower"), words("slower"), words("turn left"), words("note: nice view")], 1.0)
    assert wishes.pace == pytest.approx(0.64)
    assert wishes.command == "left"
    assert wishes.words == "slower; slower; turn left"
    wishes = wishes.heard([words("let him in")], 5.0)
    assert wishes.yields(5.0 + YIELD_S - 0.1)
    assert not wishes.yields(5.0 + YIELD_S)
    assert wishes.words == "let him in"
    assert wishes.heard([words("brake")], 6.0).brakes
    assert wishes.heard([words("brake"), words("drive on")], 6.0) == Wishes(words="brake; drive on")


def test_nobody_can_ask_for_more_than_the_limits() -> None:
    slow = Wishes().heard([words("slower")] * 30, 0.0)
    assert slow.pace == SLOWEST
    assert slow.heard([words("faster")] * 90, 0.0).pace == pytest.approx(1.3)
