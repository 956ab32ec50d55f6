"""Places and nearest landmarks in plain words: round trips, what decoding may say, repairs."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.agents.carm.places import FARTHEST_MM, NEAREST, PLACE, Place, parse_place, say_place
from loopwright.errors import BadInput
from loopwright.models.answers import TextFormat
from loopwright.tools.carm.landmarks import LANDMARKS


@given(st.tuples(st.floats(-900, 900), st.floats(-900, 900)), st.sampled_from([5, 25]))
def test_a_place_is_read_back_to_within_half_a_step(offset_mm: tuple[float, float], step_mm: int) -> None:
    read = parse_place(say_place(np.array(offset_mm, np.float32), step_mm))
    assert read is not None
    assert np.abs(np.subtract(read, offset_mm)).max() <= step_mm / 2 + 1e-3


@pytest.mark.parametrize(
    ("text", "place_mm"),
    [
        ("left 35 mm, down 110 mm", (35, 110)),
        ("right 5 mm", (-5, 0)),
        ("up 40 mm", (0, -40)),
        ("centred", (0, 0)),
        ("", None),
        ("left 35 mm,down 5 mm", None),
        (", down 5 mm", None),
        ("left 35 mm, ", None),
        ("down 5 mm, left 35 mm", None),
        ("Carina", None),
    ],
)
def test_a_place_is_read_strictly(text: str, place_mm: tuple[float, float] | None) -> None:
    assert parse_place(text) == place_mm


@given(st.tuples(st.floats(-FARTHEST_MM, FARTHEST_MM), st.floats(-FARTHEST_MM, FARTHEST_MM)))
def test_decoding_can_say_any_place_far_away_and_any_in_view(offset_mm: tuple[float, float]) -> None:
    step_mm = 5 if np.abs(offset_mm).max() <= 77.4 else 25
    text = say_place(offset_mm, step_mm)
    assert re.fullmatch(PLACE.pattern, text) and len(text) <= PLACE.longest_chars
    assert PLACE.render(PLACE.parse(text)) == text


@given(text=st.from_regex(PLACE.pattern, fullmatch=True))
def test_what_decoding_may_say_of_a_place_is_strict(text: str) -> None:
    assert PLACE.render(PLACE.parse(text)) == text


@pytest.mark.parametrize("form", [PLACE, NEAREST], ids=lambda form: form.name)
def test_examples_are_strict_and_grammars_are_bounded(form: TextFormat[Place]) -> None:
    assert form.render(form.parse(form.example)) == form.example
    assert re.fullmatch(form.pattern, form.example)
    assert form.grammar().longest_bytes <= form.longest_chars


@pytest.mark.parametrize("name", LANDMARKS)
def test_every_landmark_may_be_the_nearest(name: str) -> None:
    assert re.fullmatch(NEAREST.pattern, name) and NEAREST.parse(name) == name


def test_what_means_well_is_repaired_and_nothing_is_guessed() -> None:
    assert PLACE.repair("```\nLeft  35 mm, down 110 mm.\n```") == Place(35, 110)
    assert NEAREST.repair(" tracheal bifurcation. ") == "Carina"
    for form, text in ((PLACE, "left 35, down 110"), (PLACE, ""), (NEAREST, "the nose"), (NEAREST, "T1 or T12")):
        with pytest.raises(BadInput, match=f"is no `{form.name}`"):
            form.repair(text)
