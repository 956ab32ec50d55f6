"""Advantages: of whole episodes, or of what came from a turn on."""

import pytest

from loopwright.finetune.grpo.credit import episode_advantages, turn_advantages


def test_a_group_that_earns_the_same_teaches_nothing() -> None:
    assert episode_advantages([[1.0], [0.5, 0.5]], scaled=True) == [[0.0], [0.0, 0.0]]


def test_every_turn_of_an_episode_gets_its_whole_reward() -> None:
    assert episode_advantages([[1.0, 2.0], [1.0]], scaled=False) == [[1.0, 1.0], [-1.0]]


def test_scaled_advantages_are_in_standard_deviations() -> None:
    (first,), (second,), (third,) = episode_advantages([[0.0], [10.0], [20.0]], scaled=True)
    assert [first, second, third] == pytest.approx([-1, 0, 1], abs=1e-4)


def test_a_turn_gets_what_came_from_it_on() -> None:
    """Both gain at the first turn; at the second one gains, the other loses; only that turn is told apart by it."""
    gained, lost = turn_advantages([[1.0, 1.0], [1.0, -1.0]], scaled=False)
    assert (gained, lost) == ([1.0, 1.0], [-1.0, -1.0])
    early, late = turn_advantages([[1.0, 0.0], [0.0, 0.0]], scaled=False)
    assert (early, late) == ([0.5, 0.0], [-0.5, 0.0])


def test_a_turn_that_nobody_else_came_to_counts() -> None:
    """Each turn costs a picture: who ends early is better, and the turns beyond are worse than having ended."""
    short, long = turn_advantages([[-1.0], [-1.0, -1.0]], scaled=False)
    assert (short, long) == ([0.5], [-0.5, -0.5])
