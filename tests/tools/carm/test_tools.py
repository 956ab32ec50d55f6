"""The C-arm's tools over the real world, ledger and device file."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from tests.sending import sending

from loopwright.errors import DeveloperError, UnknownName
from loopwright.memory import Memory, open_memory
from loopwright.schema import CancelToken, World
from loopwright.settings import CArmSettings
from loopwright.tools.actuate import Actuator
from loopwright.tools.carm.case import Case
from loopwright.tools.carm.geometry import Pose
from loopwright.tools.carm.tools import RangeMm, c_arm_status, move_c_arm, take_exposure
from loopwright.tools.carm.volume import Volume
from loopwright.tools.carm.world import CArmWorld
from loopwright.tools.contract import ToolContext
from loopwright.tools.pictures import read_picture
from loopwright.tools.registry import find_tool

START = Pose(x_mm=70, y_mm=70, z_mm=70)


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Memory]:
    with open_memory(f"sqlite:///{tmp_path / 'memory.sqlite'}") as opened:
        yield opened


@pytest.fixture
def world(tmp_path: Path) -> CArmWorld:
    air = np.full((8, 8, 8), -1000, np.int16)
    volume = Volume(hounsfield=air, affine_world=np.diag([20.0, 20, 20, 1]), name="box")
    settings = CArmSettings(max_exposures=2)
    return CArmWorld(Case(name="box", volume=volume), device=tmp_path / "d.sqlite", start=START, settings=settings)


@pytest.fixture
def context(world: CArmWorld, memory: Memory) -> ToolContext:
    session_id, cancel = memory.sessions.acquire(memory.sessions.create("carm", {}).id).session_id, CancelToken()
    return ToolContext(
        session_id=session_id,
        step=1,
        world=world,
        memory=memory,
        cancel=cancel,
        send=sending(Actuator(world, memory.ledger, session_id, cancel), step=1),
    )


def test_the_view_moves_in_patient_directions(context: ToolContext, world: CArmWorld) -> None:
    motion = {"left_mm": 20, "caudal_mm": 30, "anterior_mm": -5, "alpha_deg": 10, "beta_deg": -4}
    place = move_c_arm.run(motion, context)
    assert world.pose == Pose(x_mm=50, y_mm=65, z_mm=40, alpha_deg=10, beta_deg=-4)
    assert (place.pose, place.exposures) == (world.pose, 0)
    assert move_c_arm.in_words({"left_mm": 20, "caudal_mm": -30}) == "move the view 30 mm cranial, 20 mm left"


def test_an_exposure_counts_and_the_budget_ends(context: ToolContext, world: CArmWorld, memory: Memory) -> None:
    first = take_exposure.run({}, context)
    assert (first.pose, first.exposures) == (START, 1)
    assert np.array_equal(read_picture(memory.blobs, first.image), world.image())
    assert take_exposure.run({}, replace(context, step=2)).exposures == 2
    reply = take_exposure.call({}, replace(context, step=3))
    assert reply.status == "refused"
    assert "budget is 2" in reply.for_model
    assert world.exposures == 2


def test_status_says_where_it_stands_and_what_it_may(context: ToolContext, world: CArmWorld) -> None:
    take_exposure.run({}, context)
    status = c_arm_status.run({}, context)
    assert (status.pose, status.exposures, status.exposures_left) == (world.pose, 1, 1)
    assert status.x == RangeMm(low_mm=-60, high_mm=200)
    assert (status.alpha.low_deg, status.beta.high_deg) == (-40, 45)


def test_the_device_rejects_and_never_clamps(context: ToolContext, world: CArmWorld) -> None:
    reply = move_c_arm.call({"left_mm": 151}, context)
    assert reply.status == "refused"
    assert "150 mm" in reply.for_model
    assert world.pose == START


def test_another_world_is_the_developers_error(context: ToolContext) -> None:
    with pytest.raises(DeveloperError, match="is no C-arm"):
        c_arm_status.call({}, replace(context, world=cast(World, object())))


def test_the_registry_finds_by_name_and_suggests() -> None:
    assert find_tool("move_c_arm") is move_c_arm
    with pytest.raises(UnknownName, match="Did you mean `move_c_arm`"):
        find_tool("move_carm")
