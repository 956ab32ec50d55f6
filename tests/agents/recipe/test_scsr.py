"""The selection's laws, for any scores; and the paper's equations 10 and 11 worked by hand."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.agents.recipe.scsr import Scored, select
from loopwright.errors import BadInput

labels = st.sampled_from("abcdefgh")
confidences = st.one_of(st.floats(0, 1), st.sampled_from([0.1, 0.5, 0.7]))
scores = st.lists(st.builds(Scored, labels, confidences), max_size=10)
counts = st.integers(1, 6)


def best(*sides: list[Scored]) -> dict[str, float]:
    found: dict[str, float] = {}
    for side in sides:
        for label, confidence in side:
            found[label] = max(confidence, found.get(label, confidence))
    return found


def test_the_paper_s_equations_by_hand() -> None:
    """Means .6 and .65; above them a, b, c and a, b, c, d; their intersection has three."""
    initial = [Scored("a", 0.9), Scored("b", 0.8), Scored("c", 0.7), Scored("d", 0.4), Scored("e", 0.2)]
    rectified = [Scored("a", 0.7), Scored("b", 0.9), Scored("c", 0.8), Scored("d", 0.75), Scored("f", 0.1)]
    found = select(initial, rectified)
    assert found.labels == ("a", "b", "c")
    assert found.rule == "intersection"
    assert found.mean_before == pytest.approx(0.6)
    assert found.mean_after == pytest.approx(0.65)
    assert (found.before, found.after) == (("a", "b", "c"), ("a", "b", "c", "d"))


def test_too_small_an_intersection_falls_back_to_the_surest_of_the_union() -> None:
    found = select([Scored("a", 0.9), Scored("b", 0.3)], [Scored("a", 0.8), Scored("c", 0.7), Scored("d", 0.1)])
    assert (found.labels, found.rule) == (("a", "c", "b"), "top-n")


@given(scores, scores, counts)
def test_only_labels_that_somebody_scored_are_kept_each_once(
    initial: list[Scored], rectified: list[Scored], fewest: int
) -> None:
    found = select(initial, rectified, fewest)
    assert len(set(found.labels)) == len(found.labels)
    assert set(found.labels) <= best(initial, rectified).keys()
    assert len(found.labels) >= min(fewest, len(best(initial, rectified)))


@given(scores, scores, counts)
def test_an_intersection_is_above_both_means_and_a_fallback_has_n(
    initial: list[Scored], rectified: list[Scored], fewest: int
) -> None:
    found = select(initial, rectified, fewest)
    both = set(found.before) & set(found.after)
    if found.rule == "intersection":
        assert set(found.labels) == both and len(both) >= fewest
        for side in (best(initial), best(rectified)):
            assert min(side[label] for label in found.labels) > min(side.values())
    else:
        assert len(both) < fewest
        assert len(found.labels) == min(fewest, len(best(initial, rectified)))


@given(scores, scores, counts)
def test_a_fallback_keeps_none_that_is_less_sure_than_one_left_out(
    initial: list[Scored], rectified: list[Scored], fewest: int
) -> None:
    found = select(initial, rectified, fewest)
    union = best(initial, rectified)
    left = union.keys() - set(found.labels)
    if found.rule == "top-n" and left and found.labels:
        assert min(union[label] for label in found.labels) >= max(union[label] for label in left)


@given(st.sets(labels, min_size=1), confidences, scores, counts)
def test_equal_confidences_are_above_no_mean_and_so_fall_back(
    names: set[str], confidence: float, rectified: list[Scored], fewest: int
) -> None:
    """Whatever the confidence is: three times .1 is not above its mean by rounding."""
    found = select([Scored(name, confidence) for name in names], rectified, fewest)
    assert (found.before, found.rule) == ((), "top-n")


@given(scores, counts)
def test_with_no_initial_labels_the_surest_rectified_ones_are_kept(rectified: list[Scored], fewest: int) -> None:
    """k = 0; and so with m = 0."""
    found, mirrored = select([], rectified, fewest), select(rectified, [], fewest)
    assert found.mean_before is None and found.rule == "top-n"
    assert found.labels == mirrored.labels
    assert len(found.labels) == min(fewest, len(best(rectified)))


@given(scores, scores, counts)
def test_a_label_scored_twice_counts_with_its_larger_confidence(
    initial: list[Scored], rectified: list[Scored], fewest: int
) -> None:
    once = [Scored(label, confidence) for label, confidence in best(initial).items()]
    again = select(once, rectified, fewest)
    found = select(initial, rectified, fewest)
    assert (found.labels, found.rule, found.mean_before) == (again.labels, again.rule, again.mean_before)


@given(scores, scores, counts, st.randoms(use_true_random=False))
def test_the_order_of_scores_changes_nothing_that_is_kept(
    initial: list[Scored], rectified: list[Scored], fewest: int, random: Random
) -> None:
    shuffled = [*initial], [*rectified]
    for side in shuffled:
        random.shuffle(side)
    assert select(*shuffled, fewest).labels == select(initial, rectified, fewest).labels


@pytest.mark.parametrize("fewest", [0, -1])
def test_keeping_none_makes_no_sense(fewest: int) -> None:
    with pytest.raises(BadInput, match="`fewest`"):
        select([], [], fewest)


@pytest.mark.parametrize("confidence", [float("nan"), float("inf")])
def test_a_confidence_is_a_number(confidence: float) -> None:
    with pytest.raises(BadInput, match="'a' has the confidence"):
        select([Scored("a", confidence)], [])
