"""Pictures show what the scene says, where it says, in colours that can be read back."""

import numpy as np
import pytest

from loopwright.errors import UnknownName
from loopwright.tools.drive.scenarios import SCENARIOS
from loopwright.tools.drive.scene import CAMERAS, Agent, Box, Camera, Lane, Scene
from loopwright.tools.drive.simulator import Simulation
from loopwright.tools.drive.views import (
    AGENT,
    EGO,
    GROUND,
    OBSTACLE,
    ROAD,
    ROUTE,
    SKY,
    TRAIL,
    Colour,
    Picture,
    camera_view,
    occupancy,
    occupancy_seen,
    top_view,
)

STILL = ((0.0, 0.0),) * 5


def scene(*agents: Agent, speed_mps: float = 0.0, lanes: tuple[Lane, ...] = ()) -> Scene:
    return Scene(source="test", token="t", speed_mps=speed_mps, history=STILL, agents=agents, lanes=lanes)


def car(x_m: float, y_m: float, kind: str = "car", vx_mps: float = 0.0) -> Agent:
    return Agent(id=f"{x_m} {y_m}", kind=kind, box=Box(x_m=x_m, y_m=y_m), vx_mps=vx_mps)


def where(picture: Picture, colour: Colour) -> np.ndarray:
    """(height, width) which pixels have about that colour."""
    return np.asarray(np.abs(picture.astype(int) - colour).sum(axis=-1) < 40)


def middle(picture: Picture, colour: Colour) -> tuple[float, float]:
    """Mean row and column of a colour."""
    rows, columns = np.nonzero(where(picture, colour))
    return float(rows.mean()) + 0.5, float(columns.mean()) + 0.5


def purple(picture: Picture) -> np.ndarray:
    """(height, width) which pixels are an obstacle's, in light or shade."""
    red, green, blue = np.moveaxis(picture.astype(int), -1, 0)
    return np.asarray((red - green > 50) & (blue - green > 40))


@pytest.mark.parametrize(("size_px", "metres", "forward_m"), [(128, 64.0, 44.0), (64, 64.0, 32.0), (200, 100.0, 80.0)])
def test_from_above_forward_is_up_and_left_is_left(size_px: int, metres: float, forward_m: float) -> None:
    picture = top_view(scene(car(20.0, 8.0, kind="obstacle")), size_px, metres, forward_m)
    assert picture.shape == (size_px, size_px, 3) and picture.dtype == np.uint8
    scale = size_px / metres
    assert middle(picture, EGO) == pytest.approx((forward_m * scale, metres / 2 * scale), abs=1)
    assert middle(picture, OBSTACLE) == pytest.approx(((forward_m - 20) * scale, (metres / 2 - 8) * scale), abs=1)
    assert tuple(picture[0, 0]) == GROUND


def test_a_trail_lies_behind_what_moves() -> None:
    assert not where(top_view(scene(car(10.0, 5.0))), TRAIL).any()
    row, column = middle(top_view(scene(car(10.0, 5.0, vx_mps=10.0))), TRAIL)
    assert row > (44 - 10) * 2 and column == pytest.approx((32 - 5) * 2, abs=1)
    longer = where(top_view(scene(car(10.0, 5.0, vx_mps=20.0))), TRAIL).sum()
    assert longer > where(top_view(scene(car(10.0, 5.0, vx_mps=10.0))), TRAIL).sum() * 1.4


def test_lanes_and_the_route_have_colours_of_their_own() -> None:
    lanes = (
        Lane(centre=((-20.0, 0.0), (44.0, 0.0)), is_route=True),
        Lane(centre=((-20.0, 4.0), (44.0, 4.0))),
    )
    picture = top_view(scene(lanes=lanes))
    assert middle(picture, ROUTE)[1] == pytest.approx(64, abs=1)
    assert middle(picture, ROAD)[1] == pytest.approx(56, abs=1)
    between = picture[10, 59:62].max(axis=0)
    assert between.min() > 120, "a light line between them"


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_what_is_occupied_can_be_read_from_the_picture(scenario: str) -> None:
    simulation = Simulation(scenario, 5)
    found = truly = both = 0
    for _ in range(4):
        simulation.follow(None)
        moment = simulation.scene()
        true, seen = occupancy(moment), occupancy_seen(top_view(moment))
        found, truly, both = found + seen.sum(), truly + true.sum(), both + (true & seen).sum()
    assert truly > 10
    assert both / truly > 0.9 and both / found > 0.7


def test_occupancy_is_laid_out_as_the_picture() -> None:
    grid = occupancy(scene(car(20.5, 8.5)), size=64, metres=64.0, forward_m=44.0)
    rows, columns = np.nonzero(grid)
    assert (rows.mean(), columns.mean()) == pytest.approx((44 - 20.5 - 0.5, 32 - 8.5 - 0.5), abs=0.01)
    assert grid.sum() == 5 * 1
    assert not occupancy(scene(car(100.0, 0.0))).any()


@pytest.mark.parametrize(
    ("camera", "x_m", "y_m"),
    [("F", 12, 0), ("FL", 8, 10), ("FR", 8, -10), ("B", -12, 0), ("BL", -5, 12), ("BR", -5, -12)],
)
def test_each_camera_looks_its_way(camera: Camera, x_m: float, y_m: float) -> None:
    one = scene(car(x_m, y_m, kind="obstacle"))
    seen = {each for each in CAMERAS if purple(camera_view(one, each)).any()}
    assert camera in seen and len(seen) <= 2
    picture = camera_view(one, camera, 96, 64)
    assert picture.shape == (64, 96, 3)
    assert tuple(picture[0, 0]) == SKY and tuple(picture[-1, 0]) == GROUND


def test_what_is_near_hides_what_is_far_and_the_left_is_on_the_left() -> None:
    far = scene(car(30.0, 0.0, kind="obstacle"))
    hidden = far.model_copy(update={"agents": (*far.agents, car(10.0, 0.0))})
    assert 0 < purple(camera_view(far, "F")).sum() > 2 * purple(camera_view(hidden, "F")).sum()
    columns = np.nonzero(purple(camera_view(scene(car(15.0, 4.0, kind="obstacle")), "F")))[1]
    assert columns.max() < 96


def test_the_same_scene_is_the_same_picture() -> None:
    moment = Simulation("roundabout", 2).scene()
    assert (top_view(moment) == top_view(moment)).all()
    assert (camera_view(moment, "FL") == camera_view(moment, "FL")).all()
    again = Scene.model_validate_json(moment.model_dump_json())
    assert (top_view(again) == top_view(moment)).all(), "a recorded scene draws as the live one"


def test_an_unknown_camera_is_named() -> None:
    with pytest.raises(UnknownName, match="Unknown camera 'FRONT'"):
        camera_view(scene(), "FRONT")  # type: ignore[arg-type]  # the mistake that is tested
    assert where(top_view(scene(car(10, 0))), AGENT).any()


def test_ways_are_drawn_on_the_ground_before_the_camera() -> None:
    way, blue = tuple((5.0 * k, 1.0 * k) for k in range(1, 7)), (0, 0, 255)
    drawn = where(camera_view(scene(), "F", ways=[(way, blue, 0.4)]), blue)
    rows, columns = np.nonzero(drawn)
    assert rows.max() == 127 and rows.min() > 0.4 * 128  # from the ego to below the horizon
    assert columns[rows.argmin()] < 96  # ahead it lies to the left
    assert not where(camera_view(scene(), "B", ways=[(way, blue, 0.4)]), blue).any()
