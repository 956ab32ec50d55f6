"""The simulated procedure: it follows the clips that it was fitted to, and what is visible decides."""

import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.errors import BadInput
from loopwright.tools.surgery.clips import Clip
from loopwright.tools.surgery.procedure import (
    BLEEDING,
    EXPOSED,
    PROGRESS,
    Procedure,
    ProcedureDesign,
    VisibleState,
    fit_procedure,
)
from loopwright.tools.surgery.simulator import FIRST_SEED, Moment, seeds_of, simulate
from loopwright.tools.surgery.statistics import STAGES, ClipStatistics, bundled_statistics, fit_statistics
from loopwright.tools.surgery.vocabulary import ACTIONS, INSTRUMENTS, TARGETS, Action

CLIPPING: Action = "Vessel Clipping"


@pytest.fixture(scope="module")
def patients(procedure: Procedure) -> list[list[Moment]]:
    return [list(simulate(procedure, seed)) for seed in seeds_of("test", 150)]


def clips_with(actions: str) -> list[Clip]:
    """A video of ten-second clips, by the actions' initials (`V` for Vessel Clipping, `R` for Tissue Retraction)."""
    names = {name[0]: name for name in ACTIONS if name != "Tissue Retraction"} | {"R": "Tissue Retraction"}
    return [
        Clip.model_validate(
            {"video": "VID01", "index": i, "action": names[letter], "start_s": 10 * i, "end_s": 10 * i + 9}
            | {"labelled_s": 10, "instruments": {"grasper": 10, "hook": 4}}
        )
        for i, letter in enumerate(actions)
    ]


def test_probabilities_are_probabilities(procedure: Procedure) -> None:
    assert np.allclose(procedure.dynamics.sum(axis=(3, 4)), 1)
    assert np.allclose(procedure.policy.sum(axis=-1)[procedure.visits > 0], 1)
    assert procedure.policy.min() >= 0 and procedure.dynamics.min() >= 0
    assert np.isclose(procedure.first.sum(), 1) and np.isclose(procedure.initial.sum(), 1)


def test_actions_follow_each_other_as_in_the_clips(procedure: Procedure) -> None:
    """Stage by stage, P(next | now) of the chain, exact, against the counts that it was fitted to."""
    stage_of = [STAGES.index(VisibleState(progress=p).stage) for p in range(len(PROGRESS))]
    flow = np.einsum("ijpb,ijpbn->pjn", procedure.visits, procedure.policy)
    counts = np.array(bundled_statistics().trigrams).sum(axis=1)
    for stage, name in enumerate(STAGES):
        shown = flow[[s == stage for s in stage_of]].sum(axis=0)
        for now in range(len(ACTIONS)):
            if counts[stage, now].sum() >= 40:
                wanted = counts[stage, now] / counts[stage, now].sum()
                assert shown[now] / shown[now].sum() == pytest.approx(wanted, abs=0.06), (name, ACTIONS[now])


def test_procedures_are_as_long_as_the_videos(procedure: Procedure) -> None:
    clips = procedure.visits.sum() + 1
    assert clips == pytest.approx(bundled_statistics().clips / bundled_statistics().videos, rel=0.05)


def test_the_simulator_draws_from_the_chain(procedure: Procedure, patients: list[list[Moment]]) -> None:
    expected = procedure.visits.sum(axis=(0, 1))
    visited = np.zeros_like(expected)
    for moments in patients:
        for moment in moments[:-1]:
            visited[moment.state.progress, BLEEDING.index(moment.state.bleeding)] += 1 / len(patients)
    assert visited.sum() == pytest.approx(expected.sum(), rel=0.06)
    assert np.abs(visited - expected).sum() / expected.sum() < 0.10


def test_what_is_visible_calls_for_its_action(procedure: Procedure) -> None:
    odds = np.einsum("ijpb,ijpbn->bn", procedure.visits, procedure.policy)
    odds /= odds.sum(axis=1, keepdims=True)
    aspirate, coagulate = ACTIONS.index("Aspiration"), ACTIONS.index("Coagulation")
    assert odds[BLEEDING.index("oozing"), coagulate] > 0.8 > 0.1 > odds[BLEEDING.index("none"), coagulate]
    assert odds[BLEEDING.index("pooling"), aspirate] > 0.6 > 0.1 > odds[BLEEDING.index("none"), aspirate]


def test_history_matters_beside_what_is_visible(procedure: Procedure) -> None:
    """After Coagulation, with no bleeding left, the surgeon goes back to what was interrupted."""
    now, dissect, retract = (ACTIONS.index(name) for name in ("Coagulation", "Dissection", "Tissue Retraction"))
    covered = procedure.policy[:, now, PROGRESS.index("duct covered"), BLEEDING.index("none")]
    assert covered[dissect].argmax() == dissect
    assert covered[retract].argmax() == retract


def test_nothing_is_clipped_before_it_is_seen(patients: list[list[Moment]]) -> None:
    for moments in patients:
        for before, after in itertools.pairwise(moments):
            assert after.clip.action != CLIPPING or before.state.exposure == 2
            assert after.clip.action != before.clip.action, "two clips of one action are one clip"
            assert after.state.progress - before.state.progress in (0, 1)
            assert after.clip.start_s == before.clip.end_s + 1


def test_clips_speak_the_data_sets_words(patients: list[list[Moment]]) -> None:
    for moment in itertools.chain(*patients):
        assert set(moment.clip.instruments) <= set(INSTRUMENTS) and moment.clip.instruments
        assert set(moment.clip.targets) <= set(TARGETS) and moment.clip.targets
        assert moment.clip.duration_s >= 3


def test_a_seed_is_a_patient(procedure: Procedure) -> None:
    assert list(simulate(procedure, 5)) == list(simulate(procedure, 5))
    assert list(simulate(procedure, 5)) != list(simulate(procedure, 6))


def test_no_simulated_patient_is_in_two_parts() -> None:
    parts = [seeds_of(part, 1_000_000) for part in FIRST_SEED]
    for one, other in itertools.combinations(parts, 2):
        assert one.stop <= other.start or other.stop <= one.start
    with pytest.raises(BadInput, match="`count` = 1000001"):
        seeds_of("test", 1_000_001)


@given(seed=st.integers(0, 50), at=st.integers(1, 8), action=st.sampled_from(ACTIONS))
def test_another_action_changes_nothing_before_it(procedure: Procedure, seed: int, at: int, action: Action) -> None:
    usual = list(simulate(procedure, seed))
    if len(usual) <= at or usual[at - 1].clip.action == action:
        return
    other = list(simulate(procedure, seed, {at: action}))
    assert other[:at] == usual[:at]
    assert other[at].clip.action == action
    if usual[at].clip.action == action:
        assert other == usual


def test_bleeding_goes_on_until_somebody_stops_it(procedure: Procedure) -> None:
    """Told to retract where it oozes, the blood stays; told to coagulate, it mostly stops."""
    left: Counter[bool] = Counter()
    stopped: Counter[bool] = Counter()
    for seed in range(150):
        usual = list(itertools.islice(simulate(procedure, seed), 40))
        for i, moment in enumerate(usual[:-1]):
            if moment.state.bleeding == "oozing" and moment.clip.action == "Dissection":
                choices: list[tuple[Counter[bool], Action]] = [(left, "Tissue Retraction"), (stopped, "Coagulation")]
                for counter, action in choices:
                    moments = list(itertools.islice(simulate(procedure, seed, {i + 1: action}), i + 2))
                    counter[moments[-1].state.bleeding == "none"] += 1
                break
    assert left[True] == 0 and left[False] > 30
    assert stopped[True] > 0.8 * sum(stopped.values())


def test_the_same_action_twice_is_refused(procedure: Procedure) -> None:
    first = next(simulate(procedure, 3)).clip.action
    with pytest.raises(BadInput, match=r"Clip 1 cannot be"):
        list(simulate(procedure, 3, {1: first}))


def test_statistics_count_clips() -> None:
    statistics = fit_statistics([clips_with("RDRVRVRDRA"), clips_with("DC"), clips_with("R")])
    assert (statistics.videos, statistics.clips) == (2, 12), "a video of one clip tells no transition"
    assert statistics.first == (0, 0, 1, 1, 0)
    assert statistics.clippings == 1
    assert statistics.stage_clips == ((3 + 2) / 2, 2 / 2, 2 / 2, 3 / 2)
    after_clipping = np.array(statistics.trigrams)[STAGES.index("clipping")]
    assert after_clipping[:, ACTIONS.index(CLIPPING), ACTIONS.index("Tissue Retraction")].sum() == 1
    assert np.array(statistics.trigrams).sum() == 10
    assert statistics.instruments["Dissection"] == {"grasper": 3}, "the hook is in view for less than half"
    assert statistics.durations["Dissection"].log_mean == pytest.approx(np.log(10), abs=1e-4)


def test_nothing_can_be_fitted_to_no_transition() -> None:
    with pytest.raises(BadInput, match="nothing to fit"):
        fit_statistics([clips_with("R"), []])


def test_the_procedure_follows_other_statistics_too() -> None:
    """Surgeons who always coagulate after dissecting make a procedure that does."""
    statistics = fit_statistics([clips_with("RDCRDCRDCRVRVRDCRDCR")] * 5)
    other = fit_procedure(statistics)
    flow = np.einsum("ijpb,ijpbn->jn", other.visits, other.policy)
    dissect = flow[ACTIONS.index("Dissection")]
    assert dissect[ACTIONS.index("Coagulation")] / dissect.sum() > 0.8


def test_without_calls_vision_tells_nothing(procedure: Procedure) -> None:
    """The design's weights are what makes sights matter: with weak ones the policy hardly depends on bleeding."""
    weak = fit_procedure(bundled_statistics(), ProcedureDesign(call=1.001, uncalled=1.0))
    oozing, none = BLEEDING.index("oozing"), BLEEDING.index("none")
    seen = slice(0, EXPOSED)
    assert np.abs(weak.policy[:, :, seen, oozing] - weak.policy[:, :, seen, none]).max() < 0.01
    assert np.abs(procedure.policy[:, :, seen, oozing] - procedure.policy[:, :, seen, none]).max() > 0.5


def test_the_bundled_statistics_name_their_source() -> None:
    statistics = bundled_statistics()
    assert "Nwoye" in statistics.source and "CC BY-NC-SA 4.0" in statistics.licence
    assert ClipStatistics.model_validate_json(statistics.model_dump_json()) == statistics
