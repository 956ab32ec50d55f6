"""The short-term predictor, against the paper's equations by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.errors import BadInput
from loopwright.tools.drive.predictor import Displacement, ShortTermPredictor
from loopwright.tools.drive.scene import Point, Scene

HISTORY: tuple[Point, ...] = ((-14.0, 0.4), (-11.0, 0.3), (-8.0, 0.1), (-4.5, 0.0), (0.0, 0.0))
"""The last steps are 3.5 and 4.5 m: v = (9, 0), v before = (7, -0.2), a = (4, 0.4)."""
coordinates = st.floats(-50, 50, allow_subnormal=False)


def test_inertia_alone_is_constant_acceleration() -> None:
    assert ShortTermPredictor(weight=0).predict(HISTORY, "left") == pytest.approx((9 * 0.5 + 4 / 8, 0.4 / 8))


def test_half_of_each() -> None:
    turn = {"left": Displacement(forward_m=4.0, left_m=0.5)}
    predictor = ShortTermPredictor.model_validate({"weight": 0.5, "displacements": turn})
    # a_goal = 8 * ((4, 0.5) - (4.5, 0)) = (-4, 4); a_eff = (0, 2.2)
    assert predictor.predict(HISTORY, "left") == pytest.approx((4.5, 2.2 / 8))


def test_straight_ahead_keeps_the_speed_where_nothing_else_is_asked_for() -> None:
    assert ShortTermPredictor(weight=1).predict(HISTORY, "straight", 3.0) == pytest.approx((27.0, 0.0))


@given(
    history=st.lists(st.tuples(coordinates, coordinates), min_size=3, max_size=5),
    forward=coordinates,
    left=coordinates,
    tau=st.floats(0.1, 3),
)
def test_the_command_alone_lands_on_its_displacement(
    history: list[Point], forward: float, left: float, tau: float
) -> None:
    wanted = {"right": Displacement(forward_m=forward, left_m=left)}
    predictor = ShortTermPredictor.model_validate({"weight": 1, "horizon_s": tau, "displacements": wanted})
    x, y = history[-1]
    assert predictor.predict(history, "right") == pytest.approx((x + forward, y + left), abs=1e-6)


def test_waypoints_are_at_each_step() -> None:
    scene = Scene(source="made up", token="0", speed_mps=9.0, history=HISTORY, command="right")
    points = ShortTermPredictor(weight=1).waypoints(scene)
    assert np.array(points) == pytest.approx(np.array([(4.5 * k, -0.125 * k**2) for k in range(1, 7)]))


def test_it_refuses_what_it_cannot_know() -> None:
    with pytest.raises(BadInput, match="`history` has 2 points; expected three"):
        ShortTermPredictor().predict(HISTORY[:2], "left")
    with pytest.raises(BadInput, match="`displacements` has no 'left'"):
        ShortTermPredictor(displacements={"right": Displacement()}).predict(HISTORY, "left")
    with pytest.raises(ValueError, match="less than or equal to 1"):
        ShortTermPredictor(weight=1.5)
