"""The C-arm roles' answers: round trips, what decoding can and cannot say, repairs, and the ladder's reach."""

import math
import re
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.agents.carm.formats import (
    CENTRED,
    CORRECTION,
    NAVIGATION,
    REASON_CHARS,
    REASONING_CHARS,
    RETRIEVAL,
    Centred,
    Command,
    Correction,
    Ladder,
    Navigation,
    Retrieval,
    correction_form,
)
from loopwright.errors import BadInput
from loopwright.models.answers import TextFormat
from loopwright.tools.carm.landmarks import LANDMARKS, SYNONYMS

PLAIN = "abcXYZ019 ,.;:'()-"
FORMS: tuple[TextFormat[Retrieval] | TextFormat[Centred] | TextFormat[Correction] | TextFormat[Navigation], ...] = (
    RETRIEVAL,
    CENTRED,
    CORRECTION,
    NAVIGATION,
)

offsets = st.floats(-1500, 1500)
names = st.sampled_from(LANDMARKS).flatmap(lambda name: st.sampled_from((name, *SYNONYMS[name])))
pairs = st.permutations(LANDMARKS).map(lambda order: (order[0], order[1]))
triples = st.permutations(LANDMARKS).map(lambda order: (order[0], order[1], order[2]))
three_names = triples.flatmap(lambda three: st.tuples(*(st.sampled_from((n, *SYNONYMS[n])) for n in three)))
ladders = st.lists(st.integers(1, 300), min_size=3, max_size=3, unique=True).map(
    lambda mm: Ladder(**dict(zip(("small_mm", "moderate_mm", "large_mm"), sorted(mm), strict=True)))
)


def plain(n_chars: int) -> st.SearchStrategy[str]:
    rest = st.text(PLAIN, max_size=n_chars - 1)
    return st.builds(lambda first, others: first + others, st.sampled_from("aT1"), rest)


@st.composite
def navigations(draw: st.DrawFn) -> Navigation:
    command = Ladder().command(draw(offsets), draw(offsets))
    reasons = {f"reason_{axis}": draw(plain(REASON_CHARS)) for axis in "xy"}
    return Navigation(context=draw(names), **reasons, **command.model_dump())


corrections = st.builds(Correction, landmarks=pairs, visual_reasoning=plain(REASONING_CHARS))


@given(
    names=st.permutations(LANDMARKS).flatmap(lambda o: st.tuples(*(st.sampled_from((n, *SYNONYMS[n])) for n in o[:3])))
)
def test_a_retrieval_survives_the_text_under_any_names(names: tuple[str, str, str]) -> None:
    value = Retrieval(names=names)
    assert RETRIEVAL.parse(RETRIEVAL.render(value)) == value
    assert RETRIEVAL.repair(RETRIEVAL.render(value)).landmarks == value.landmarks


@given(pair=pairs)
def test_a_centred_view_survives_the_text(pair: tuple[str, str]) -> None:
    text = CENTRED.render(Centred(landmarks=pair))
    assert CENTRED.parse(text) == CENTRED.repair(text) == Centred(landmarks=pair)
    assert re.fullmatch(CENTRED.pattern, text)


@given(value=corrections)
def test_a_correction_survives_the_text(value: Correction) -> None:
    text = CORRECTION.render(value)
    assert CORRECTION.parse(text) == value
    assert CORRECTION.repair(text).landmarks == value.landmarks
    assert re.fullmatch(CORRECTION.pattern, text) and len(text) <= CORRECTION.longest_chars


@given(value=navigations())
def test_a_navigation_survives_the_text(value: Navigation) -> None:
    text = NAVIGATION.render(value)
    assert NAVIGATION.parse(text) == value
    repaired = NAVIGATION.repair(f"```xml\n{text}\n```")
    assert (repaired.landmark, repaired.x, repaired.extent_y) == (value.landmark, value.x, value.extent_y)


@given(text=st.from_regex(CENTRED.pattern, fullmatch=True))
def test_what_decoding_may_say_of_a_centred_view_is_strict(text: str) -> None:
    assert len(set(CENTRED.parse(text).landmarks)) == 2


@given(text=st.from_regex(NAVIGATION.pattern, fullmatch=True))
def test_what_decoding_may_say_of_a_motion_is_strict(text: str) -> None:
    NAVIGATION.parse(text)
    assert len(text) <= NAVIGATION.longest_chars


@given(three=triples)
def test_decoding_can_say_any_three_landmarks(three: tuple[str, str, str]) -> None:
    text = RETRIEVAL.render(Retrieval(names=three))
    assert re.fullmatch(RETRIEVAL.pattern, text) and len(text) <= RETRIEVAL.longest_chars


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_examples_are_strict_and_grammars_are_bounded(form: TextFormat[Retrieval]) -> None:
    form.parse(form.example)
    assert re.fullmatch(form.pattern, form.example)
    assert form.grammar().longest_bytes <= form.longest_chars


@pytest.mark.parametrize(
    ("form", "text", "said"),
    [
        (RETRIEVAL, "[10: T1, 11: Carina]", "not of that form"),
        (RETRIEVAL, "[10: T1, 11: Carina, 10: First thoracic vertebra]", "twice"),
        (RETRIEVAL, "[10: T1, 11: Carina, 13: T12]", "'13: T12' gives a number"),
        (RETRIEVAL, "[10: T1, 11: Carina, 14: t12]", "'t12' is no landmark"),
        (RETRIEVAL, "[10: T1, 11: Carina, 14: T12] ", "not of that form"),
        (CENTRED, "[10,10]", "twice"),
        (CENTRED, "[10, 11]", "not of that form"),
        (CENTRED, "[0,11]", "not of that form"),
        (CENTRED, "[15,1]", "none of 1 to 14"),
        (CORRECTION, "[10,11]", "not of that form"),
        (NAVIGATION, NAVIGATION.example.replace("LARGE", "NONE"), "CENTER means NONE"),
        (NAVIGATION, NAVIGATION.example.replace("DOWN", "LEFT"), "`y` = 'LEFT'"),
        (NAVIGATION, NAVIGATION.example.replace("Skull", "Nose", 1), "`context` = 'Nose'"),
        (NAVIGATION, NAVIGATION.example.replace("T1 is", "T1 " + "is " * 60), "at most 120"),
        (NAVIGATION, f"```xml\n{NAVIGATION.example}\n```", "not of that form"),
    ],
)
def test_what_is_not_to_the_letter_is_refused(form: TextFormat[Retrieval], text: str, said: str) -> None:
    with pytest.raises(BadInput, match=re.escape(said)):
        form.parse(text)
    assert re.fullmatch(form.pattern, text) is None


@pytest.mark.parametrize(
    ("form", "text", "strict"),
    [
        (
            RETRIEVAL,
            "The nearest are [10: t1,11:carina ,  14:  Twelfth thoracic vertebra].",
            "[10: T1, 11: Carina, 14: T12]",
        ),
        (CENTRED, "```\n[ 10 , 11 ]\n```", "[10,11]"),
        (
            CORRECTION,
            "```xml\n<response>\n  <visual_reasoning>\n Ribs – & more.\n </visual_reasoning>\n"
            "  <landmarks>[10, 11]</landmarks>\n</response>\n```",
            "<response><visual_reasoning>Ribs more.</visual_reasoning><landmarks>[10,11]</landmarks></response>",
        ),
        (
            NAVIGATION,
            "Sure!\n<output>\n <step1>\n <context>skull</context>\n </step1>\n <step2>\n <x>center</x>\n"
            " <extent_x>None</extent_x>\n <reason_x>Level.</reason_x>\n <y>Down</y>\n <extent_y>LARGE</extent_y>\n"
            " <reason_y>Far <b>below</b>.</reason_y>\n </step2>\n</output>",
            "<output><step1><context>Skull</context></step1><step2><x>CENTER</x><extent_x>NONE</extent_x>"
            "<reason_x>Level.</reason_x><y>DOWN</y><extent_y>LARGE</extent_y><reason_y>Far b below b .</reason_y>"
            "</step2></output>",
        ),
    ],
)
def test_what_means_well_is_repaired(form: TextFormat[Retrieval], text: str, strict: str) -> None:
    assert form.repair(text) == form.parse(strict)
    with pytest.raises(BadInput):
        form.parse(text)


@pytest.mark.parametrize(
    ("form", "text"),
    [
        (RETRIEVAL, "T1, Carina and T12"),
        (RETRIEVAL, "[10: T1, 11: Carina, 13: T12]"),
        (RETRIEVAL, "[10: T1, 11: Carina, 14: nose]"),
        (CENTRED, "[10]"),
        (CORRECTION, "<response><landmarks>[10,11]</landmarks></response>"),
        (NAVIGATION, NAVIGATION.example.replace("<y>DOWN</y>", "")),
        (NAVIGATION, NAVIGATION.example.replace("DOWN", "CENTER")),
        (NAVIGATION, ""),
    ],
)
def test_what_cannot_be_told_is_not_guessed(form: TextFormat[Retrieval], text: str) -> None:
    with pytest.raises(BadInput, match=f"is no `{form.name}`"):
        form.repair(text)


def test_a_long_reason_is_cut_at_a_word() -> None:
    long = NAVIGATION.example.replace("T1 is", "T1 " + "is " * 60)
    reason = NAVIGATION.repair(long).reason_x
    assert len(reason) <= REASON_CHARS and reason.endswith(" is")
    assert len(NAVIGATION.repair(NAVIGATION.example.replace("T1 is", "T" * 500)).reason_x) == REASON_CHARS


@given(rejected=st.lists(pairs, min_size=1, max_size=3), value=corrections)
def test_a_rejected_pair_is_never_given_again_in_either_order(
    rejected: list[tuple[str, str]], value: Correction
) -> None:
    form = correction_form([Centred(landmarks=pair) for pair in rejected])
    for one, two in combinations(LANDMARKS, 2):
        refused = {one, two} in [set(pair) for pair in rejected]
        for pair in ((one, two), (two, one)):
            text = CORRECTION.render(value.model_copy(update={"landmarks": pair}))
            assert bool(re.fullmatch(form.pattern, text)) is not refused
    first = CORRECTION.render(value.model_copy(update={"landmarks": rejected[0]}))
    for read in (form.parse, form.repair):
        with pytest.raises(BadInput, match="a different pair is expected"):
            read(first)


@given(left_mm=offsets, caudal_mm=offsets)
def test_following_the_best_command_ends_at_the_target(left_mm: float, caudal_mm: float) -> None:
    ladder, n_moves = Ladder(), 0
    while not (command := ladder.command(left_mm, caudal_mm)).stays:
        motion = ladder.motion(command)
        left, caudal = left_mm - motion.left_mm, caudal_mm - motion.caudal_mm
        assert math.hypot(left, caudal) < math.hypot(left_mm, caudal_mm)
        left_mm, caudal_mm, n_moves = left, caudal, n_moves + 1
    assert n_moves <= 15
    assert math.hypot(left_mm, caudal_mm) <= 10.7


@given(ladder=ladders, distance_mm=st.floats(0, 1500))
def test_no_step_leaves_less_than_the_best(ladder: Ladder, distance_mm: float) -> None:
    best = abs(distance_mm - ladder.mm(ladder.extent(distance_mm)))
    others = (ladder.mm(extent) for extent in ("NONE", "SMALL", "MODERATE", "LARGE"))
    assert best == min(abs(distance_mm - mm) for mm in others)


def test_directions_are_the_patients_and_the_view_moves() -> None:
    command = Ladder().command(-160, 20)
    assert command == Command(x="RIGHT", extent_x="LARGE", y="DOWN", extent_y="SMALL")
    assert Ladder().motion(command).model_dump(exclude_defaults=True) == {"left_mm": -150, "caudal_mm": 15}
    assert Ladder().command(7.5, -7.5).stays


def test_a_ladder_rises() -> None:
    assert Ladder.of((25, 75, 150)).moderate_mm == 75
    for steps_mm in ((60, 50, 150), (0, 50, 150), (15, 50), (15, 50, float("inf"))):
        with pytest.raises(BadInput, match="expected three rising lengths in mm"):
            Ladder.of(steps_mm)
