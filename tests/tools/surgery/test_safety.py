"""Safety rules annotate: each where it belongs, none in silence, and the plan stays as it is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.tools.surgery.procedure import BLEEDING, EXPOSED, PROGRESS, Procedure, VisibleState
from loopwright.tools.surgery.safety import SafetyReview, review
from loopwright.tools.surgery.simulator import seeds_of, simulate
from loopwright.tools.surgery.vocabulary import ACTIONS, Action

PAST: tuple[Action, ...] = ("Tissue Retraction", "Dissection")
states = st.builds(VisibleState, progress=st.integers(0, len(PROGRESS) - 1), bleeding=st.sampled_from(BLEEDING))
plans = st.permutations(ACTIONS).map(lambda order: tuple(order[:3]))


def rules(found: SafetyReview, action: Action) -> set[str]:
    return {note.rule for note in found.notes if note.action == action}


@pytest.mark.parametrize(
    ("seen", "bleeding", "action", "expected"),
    [
        ("duct covered", "none", "Vessel Clipping", {"unseen vessels"}),
        ("duct partly exposed", "oozing", "Vessel Clipping", {"unseen vessels", "bleeding"}),
        ("duct exposed", "none", "Vessel Clipping", set()),
        ("artery clipped", "none", "Vessel Clipping", set()),
        ("duct clipped", "none", "Vessel Clipping", {"clipped already"}),
        ("gallbladder a third off", "none", "Dissection", set()),
        ("gallbladder a third off", "pooling", "Dissection", {"bleeding"}),
        ("gallbladder detached", "none", "Dissection", {"detached already"}),
        ("dense adhesions", "oozing", "Coagulation", set()),
        ("dense adhesions", "pooling", "Coagulation", {"hidden source"}),
        ("dense adhesions", "pooling", "Aspiration", set()),
        ("dense adhesions", "pooling", "Tissue Retraction", set()),
    ],
)
def test_each_rule_speaks_where_it_belongs(seen: str, bleeding: str, action: Action, expected: set[str]) -> None:
    truth = VisibleState.model_validate({"progress": PROGRESS.index(seen), "bleeding": bleeding})
    found = review([action], past=PAST, truth=truth)
    assert rules(found, action) == expected and found.unchecked == ()
    assert all(seen in note.reason for note in found.notes)


def test_nothing_is_clipped_that_was_not_dissected_seen_or_not() -> None:
    for truth in (None, VisibleState(progress=EXPOSED)):
        assert rules(review(["Vessel Clipping"], past=["Tissue Retraction"], truth=truth), "Vessel Clipping") == {
            "undissected"
        }
        assert not review(["Vessel Clipping"], past=PAST, truth=truth).notes


@given(actions=plans, state=states)
def test_notes_stand_by_rank_and_name_the_plans_own_actions(actions: tuple[Action, ...], state: VisibleState) -> None:
    notes = review(actions, past=(), truth=state).notes
    assert [note.rank for note in notes] == sorted(note.rank for note in notes)
    assert all(actions[note.rank - 1] == note.action for note in notes)


@given(actions=plans)
def test_what_nobody_can_check_is_told(actions: tuple[Action, ...]) -> None:
    found = review(actions, past=PAST)
    assert not found.notes
    assert ("unseen vessels" in found.unchecked) == ("Vessel Clipping" in actions)
    assert ("hidden source" in found.unchecked) == ("Coagulation" in actions)
    assert len(set(found.unchecked)) == len(found.unchecked)


def test_most_of_what_simulated_surgeons_do_is_not_objected_to(procedure: Procedure) -> None:
    n_steps = n_objected = 0
    for seed in seeds_of("validation", 40):
        past: list[Action] = []
        truth = None
        for moment in simulate(procedure, seed):
            if truth is not None:
                n_objected += bool(review([moment.clip.action], past=past, truth=truth).notes)
                n_steps += 1
            past.append(moment.clip.action)
            truth = moment.state
    assert n_steps > 1000 and n_objected < 0.1 * n_steps
