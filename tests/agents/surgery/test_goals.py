"""Goals in plain language: all of a sentence is understood, or none of it; a chain reaches a goal once and for good."""

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.agents.surgery.goals import MOST_TIMES, Goal, read_goal
from loopwright.errors import BadInput, UnknownName
from loopwright.tools.surgery.procedure import ARTERY_CLIPPED, DETACHED, DUCT_CLIPPED, VisibleState
from loopwright.tools.surgery.vocabulary import ACTIONS, Action

D: Action = "Dissection"
R: Action = "Tissue Retraction"
V: Action = "Vessel Clipping"

chains = st.lists(st.sampled_from(ACTIONS), max_size=15)
_SAID = "{} {} times {}"
goals = st.one_of(
    st.sampled_from(["the artery is clipped", "the vessels are clipped", "the gallbladder is detached"]),
    st.builds(_SAID.format, st.sampled_from(ACTIONS), st.integers(1, 5), st.sampled_from(["in all", "more"])),
).map(read_goal)


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ("the artery is clipped", "the artery is clipped"),
        ("Please continue until the cystic artery has been clipped.", "the artery is clipped"),
        ("clip the artery", "the artery is clipped"),
        ("the vessels are clipped", "the vessels are clipped"),
        ("dissect until the duct is clipped", "the vessels are clipped"),
        ("both duct and artery are secured", "the vessels are clipped"),
        ("gallbladder detached", "the gallbladder is detached"),
        ("go on until the gall bladder is off the liver bed", "the gallbladder is detached"),
        ("remove the gallbladder from the liver", "the gallbladder is detached"),
        ("until the first Coagulation", "the first Coagulation"),
        ("the 3rd aspiration", "Aspiration 3 times in all"),
        ("two clippings", "Vessel Clipping 2 times in all"),
        ("until the next coagulation begins", "the next Coagulation"),
        ("coagulate", "the next Coagulation"),
        ("Coagulation twice more", "Coagulation 2 times more"),
        ("clipping once in all", "the first Vessel Clipping"),
        ("another dissection", "the next Dissection"),
        ("2 more Tissue-Retractions", "Tissue Retraction 2 times more"),
        ("the next four dissections", "Dissection 4 times more"),
    ],
)
def test_what_people_say(said: str, name: str) -> None:
    assert read_goal(said).name == name


@pytest.mark.parametrize(
    ("said", "nearest"),
    [
        ("until the duct is not clipped", "the duct is clipped"),
        ("the gallbladder is removed", "the gallbladder is detached"),
        ("never coagulate", "the next Coagulation"),
        ("the first coagulations and then clip", "the first Coagulation"),
        ("retract coagulation", "the first Coagulation"),
        ("-2 more coagulations", "2 more Coagulations"),
        ("make me a sandwich", None),
        ("", None),
    ],
)
def test_what_is_not_understood_to_the_last_word_is_refused_with_what_is(said: str, nearest: str | None) -> None:
    with pytest.raises(UnknownName) as error:
        read_goal(said)
    found = re.fullmatch(r"Unknown goal '.*'\. (Did you mean .*\? )?Known: (.*)\.", str(error.value))
    assert found is not None
    hint, known = found.groups()
    assert (hint is not None and f"`{nearest}`" in hint) if nearest else hint is None
    assert all(read_goal(goal) for goal in known.split(", "))


@pytest.mark.parametrize("times", [0, MOST_TIMES + 1, 10**8])
def test_an_action_is_asked_for_a_sane_number_of_times(times: int) -> None:
    with pytest.raises(BadInput, match=f"asks for Vessel Clipping {times} times; expected 1 to {MOST_TIMES}"):
        read_goal(f"{times} clippings")


@given(goals)
def test_a_goals_name_means_the_goal(goal: Goal) -> None:
    assert read_goal(goal.name) == goal


@given(goals, chains, chains)
def test_on_the_way_to_a_goal_nothing_is_lost(goal: Goal, past: list[Action], planned: list[Action]) -> None:
    done = [goal.done(past, planned[:n]) for n in range(len(planned) + 1)]
    assert all(after - before in (0, 1) for before, after in pairwise(done))
    at = goal.reached_after(past, planned)
    assert [goal.is_reached(past, planned[:n]) for n in range(len(planned) + 1)] == [
        at is not None and n >= at for n in range(len(planned) + 1)
    ]


@given(chains, chains, st.integers(1, 5), st.sampled_from(ACTIONS))
def test_in_all_counts_the_past_and_more_does_not(
    past: list[Action], planned: list[Action], times: int, action: Action
) -> None:
    in_all, more = read_goal(f"{action} {times} times in all"), read_goal(f"{action} {times} times more")
    assert in_all.is_reached(past, planned) == ((past + planned).count(action) >= times)
    assert more.is_reached(past, planned) == (planned.count(action) >= times)


def test_the_gallbladder_is_detached_by_dissection_after_the_clipping() -> None:
    goal = read_goal("the gallbladder is detached")
    clipping: tuple[Action, ...] = (V, R, V)
    dissecting: tuple[Action, ...] = (D, R, D, R, D, R, D, R, D, R)
    last: tuple[Action, ...] = (D,)
    assert not goal.is_reached(dissecting * 4 + clipping, dissecting)
    assert goal.is_reached(clipping, dissecting + last)


@pytest.mark.parametrize(
    ("said", "at"),
    [
        ("the artery is clipped", ARTERY_CLIPPED),
        ("the vessels are clipped", DUCT_CLIPPED),
        ("gallbladder detached", DETACHED),
    ],
)
def test_the_truth_has_a_goal_about_tissue_from_its_place_on(said: str, at: int) -> None:
    goal = read_goal(said)
    assert [goal.is_true(VisibleState(progress=progress)) for progress in (0, at - 1, at, DETACHED)] == [
        False,
        False,
        True,
        True,
    ]
    assert read_goal("the first Coagulation").is_true(VisibleState(progress=DETACHED)) is None
