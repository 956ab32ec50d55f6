"""Road users in a picture against those of the scene, by hand."""

import pytest

from loopwright.finetune.networks.drive.fidelity import Fidelity, fidelity, total
from loopwright.tools.drive.scene import Agent, Box, Scene
from loopwright.tools.drive.views import top_view


def scene(*places: tuple[float, float]) -> Scene:
    agents = tuple(Agent(id=str(k), box=Box(x_m=x, y_m=y)) for k, (x, y) in enumerate(places))
    return Scene(source="test", token="one", speed_mps=10, history=((0, 0),) * 5, agents=agents)


@pytest.mark.parametrize(
    ("drawn", "found", "right"),
    [
        (((10, 4), (20, -4)), 2, 2),
        (((11.5, 4), (20, -4)), 2, 2),  # 1.5 m off
        (((13, 4), (20, -4)), 1, 1),  # 3 m off
        (((10, 4),), 1, 1),
        (((10, 4), (20, -4), (30, 12)), 2, 2),  # one that is not there
        ((), 0, 0),
    ],
)
def test_each_blot_stands_for_one_road_user(drawn: tuple[tuple[float, float], ...], found: int, right: int) -> None:
    truth = scene((10, 4), (20, -4))
    counts = fidelity(top_view(scene(*drawn)), top_view(truth), truth)
    assert (counts.found, counts.there, counts.drawn, counts.right) == (found, 2, len(drawn), right)


def test_one_blot_between_two_is_neither_twice() -> None:
    truth = scene((10, 4), (13, 4))
    counts = fidelity(top_view(scene((11.5, 4))), top_view(truth), truth)
    assert (counts.found, counts.there) == (1, 2)


def test_who_is_at_the_edge_is_not_asked_for() -> None:
    truth = scene((43, 0), (10, 31))
    assert fidelity(top_view(truth), top_view(truth), truth).there == 0


def test_overlap_counts_cells_and_adds_up() -> None:
    truth = scene((10.5, 4))
    same = fidelity(top_view(truth), top_view(truth), truth)
    assert same.both == same.either > 6
    nothing = fidelity(top_view(scene()), top_view(truth), truth)
    assert nothing.both == 0 and nothing.either == same.either
    assert total([same, nothing]).either == 2 * same.either and total([]) == Fidelity(0, 0, 0, 0, 0, 0)
