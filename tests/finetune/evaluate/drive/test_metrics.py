"""Open-loop metrics against cases worked out by hand."""

from math import pi

import numpy as np
import pytest
from tests.finetune.evaluate.drive.cases import AT_10_MPS, sample

from loopwright.errors import BadInput
from loopwright.finetune.evaluate.drive.metrics import figures, hits_of_boxes, hits_on_grid, overlaps, rectangles, score
from loopwright.tools.drive.scene import Box, Point


def means(samples: list[object], answers: list[object]) -> dict[str, float]:
    return {name: float(values.mean()) for name, values in figures(score(samples, answers)).items()}  # type: ignore[arg-type]


def beside(metres: tuple[float, ...]) -> tuple[Point, ...]:
    """The truth of `sample()`, shifted to the left by so much at each step."""
    return tuple((x, off) for (x, _), off in zip(AT_10_MPS, metres, strict=True))


def test_l2_at_the_step_and_up_to_the_step() -> None:
    found = means([sample()], [beside((0.1, 0.2, 0.3, 0.4, 0.5, 0.6))])
    assert [found[f"l2_{k}"] for k in ("1s", "2s", "3s", "avg")] == pytest.approx([0.2, 0.4, 0.6, 0.4])
    assert [found[f"l2_to_{k}"] for k in ("1s", "2s", "3s", "avg")] == pytest.approx([0.15, 0.25, 0.35, 0.25])


def test_an_unknown_step_counts_zero_and_stays_in_n() -> None:
    masked = sample("b", future=(*AT_10_MPS[:4], None, None))
    found = means([sample(), masked], [beside((1.0,) * 6)] * 2)
    assert (found["l2_2s"], found["l2_3s"], found["known_3s"]) == pytest.approx((1.0, 0.5, 0.5))
    assert found["l2_to_3s"] == pytest.approx((1 + 4 / 6) / 2)


def test_an_unreadable_answer_is_standing_still_and_is_counted() -> None:
    found = means([sample(), sample("b")], [AT_10_MPS, None])
    assert (found["parsed"], found["l2_3s"]) == pytest.approx((0.5, 15.0))
    assert found["l2_to_1s"] == pytest.approx((5 + 10) / 2 / 2)


def test_the_three_readings_of_a_collision() -> None:
    """The agent stands beside the true way; the answer drives into it at 1.5 s and past it afterwards."""
    there = Box(x_m=15, y_m=3, length_m=4, width_m=2)
    of = sample(boxes=(there,) * 6)
    found = means([of, sample("b", boxes=(there,) * 6)], [beside((0, 0, 3, 0, 0, 0)), AT_10_MPS])
    assert [found[f"collision_{k}s"] for k in (1, 2, 3)] == [0, 0, 0]
    assert [found[f"collision_to_{k}s"] for k in (1, 2, 3)] == pytest.approx([0, 12.5, 100 / 12])
    assert [found[f"collision_any_{k}s"] for k in (1, 2, 3)] == [0, 50, 50]
    assert found["boxes_any_3s"] == 50


def test_where_the_truth_itself_collides_nothing_is_counted() -> None:
    on_the_way = Box(x_m=15, y_m=0)
    found = means([sample(boxes=(on_the_way,) * 6)], [AT_10_MPS])
    assert found["collision_any_3s"] == found["boxes_any_3s"] == 0
    late = means([sample(boxes=(on_the_way,) * 6)], [[(15.0, 0.0)] * 6])
    truth = figures(score([sample(boxes=(on_the_way,) * 6)], [AT_10_MPS], is_truth=True))
    assert truth["collision_any_3s"].tolist() == [100]
    assert late["collision_to_3s"] == pytest.approx(500 / 6)  # the hit at 1.5 s is the truth's too


@pytest.mark.parametrize(
    ("x_m", "y_m", "is_hit"),
    [
        # the ego at the origin covers cells with centres from -1.25 to 2.25 m along and -0.75 to 0.75 m across
        (2.25, 0.75, True),
        (2.75, 0.75, False),
        (-1.25, 0.0, True),
        (-1.75, 0.0, False),
        (0.25, -0.75, True),
        (0.25, -1.25, False),
    ],
)
def test_the_grid_is_the_papers(x_m: float, y_m: float, is_hit: bool) -> None:
    speck = Box(x_m=x_m, y_m=y_m, length_m=0.6, width_m=0.6)
    assert hits_on_grid(np.zeros((1, 2)), [rectangles([speck])]).tolist() == [is_hit]


def test_the_grid_moves_in_whole_cells_and_ends_at_50_m() -> None:
    speck = [rectangles([Box(x_m=12.25, y_m=0.25, length_m=0.4, width_m=0.4)])]
    assert hits_on_grid(np.array([[10.4, 0.0]]), speck).tolist() == [True]
    assert hits_on_grid(np.array([[9.9, 0.0]]), speck).tolist() == [False]  # floor: 9.5
    far = [rectangles([Box(x_m=60, y_m=0)])]
    assert hits_on_grid(np.array([[60.0, 0.0]]), far).tolist() == [False]
    ego = Box(x_m=0, y_m=0, length_m=5, width_m=2)
    assert hits_of_boxes(np.array([[60.0, 0.0]]), ego, far).tolist() == [True]


def test_exact_boxes_turn_along_the_way() -> None:
    """Turned to the left the ego is 5 m long across: it reaches an agent that the grid's ego misses."""
    ego = Box(x_m=0, y_m=0, length_m=5, width_m=2)
    beside_it = [rectangles([Box(x_m=0, y_m=7.9, length_m=1, width_m=1)])]
    assert hits_of_boxes(np.array([[0.0, 5.0]]), ego, beside_it).tolist() == [True]
    assert hits_on_grid(np.array([[0.0, 5.0]]), beside_it).tolist() == [False]
    assert not hits_of_boxes(np.array([[np.nan, 5.0]]), ego, beside_it).any()


def test_overlap_of_turned_rectangles() -> None:
    square = Box(x_m=0, y_m=0, length_m=2, width_m=2)
    diamond = Box(x_m=2.3, y_m=0, yaw_rad=pi / 4, length_m=2, width_m=2)  # its corner is at 0.886
    others = [diamond, *(diamond.model_copy(update=at) for at in ({"x_m": 2.5}, {"x_m": 1.9, "y_m": 1.9}))]
    assert overlaps(rectangles([square])[0], rectangles(others)).tolist() == [True, False, False]
    assert overlaps(rectangles([diamond])[0], rectangles([square])).tolist() == [True]
    assert not overlaps(rectangles([square])[0], rectangles([])).any()


def test_it_refuses_what_does_not_fit() -> None:
    with pytest.raises(BadInput, match="0 answers to 1 samples"):
        score([sample()], [])
    with pytest.raises(BadInput, match="answer to 'a' has 3 points; expected 6"):
        score([sample()], [AT_10_MPS[:3]])
