"""Frames that are imagined and read, what is sensed of a moment, and how like two pictures are."""

from math import inf, nan

import numpy as np
import pytest
from tests.agents.drive.scenes import car, scene

from loopwright.errors import BadInput
from loopwright.tools.drive.expected import moved
from loopwright.tools.drive.imagination import Frame
from loopwright.tools.drive.likeness import iou, psnr_db, ssim
from loopwright.tools.drive.scene import Box, Pose
from loopwright.tools.drive.sensing import read_faults, sensed
from loopwright.tools.drive.views import top_view


def test_a_frame_is_read_from_its_picture() -> None:
    moment = scene(car(20, 0, 10))
    pose = Pose(15.0)
    frame = Frame.of(top_view(moved(moment, pose, 1.5)), pose, 1.5)
    assert len(frame.occupied) < 400
    future = Frame.model_validate_json(frame.model_dump_json()).future()
    assert future.covers(Box(x_m=35.0, y_m=0.0))
    assert not future.covers(Box(x_m=35.0, y_m=4.0))
    assert not future.covers(Box(x_m=20.0, y_m=0.0))


def test_what_is_no_number_is_left_out_and_named() -> None:
    agents = (car(20, 0), car(30, 4))
    lost = agents[0].model_copy(update={"vx_mps": inf})
    whole = scene(*agents)
    assert sensed(whole) == (whole, ())
    found = sensed(whole.model_copy(update={"agents": (lost, agents[1])}))
    assert found.scene is not None
    assert found.scene.agents == (agents[1],)
    assert "20 0" in found.faults[0]
    assert sensed(whole.model_copy(update={"speed_mps": nan})).scene is None


def test_faults_are_told_by_kind_and_step() -> None:
    assert read_faults(["ego@3", "camera@3", "gap@0"]) == {3: {"ego", "camera"}, 0: {"gap"}}
    for bad in ("ego", "ego@-1", "moon@1", "ego@1@2"):
        with pytest.raises(BadInput, match="KIND@STEP"):
            read_faults([bad])


def test_the_same_picture_is_most_alike() -> None:
    one = top_view(scene(car(20, 0)))
    other = top_view(scene(car(26, 0)))
    assert psnr_db(one, one) == inf
    assert ssim(one, one) == pytest.approx(1.0)
    assert 10 < psnr_db(one, other) < 40
    assert ssim(one, other) < 0.995
    flat = np.full((16, 16, 3), 100, np.uint8)
    assert psnr_db(flat, flat + np.uint8(10)) == pytest.approx(20 * np.log10(255 / 10))
    empty, full = np.zeros((4, 4), bool), np.ones((4, 4), bool)
    assert (iou(empty, empty), iou(empty, full), iou(full, full)) == (1.0, 0.0, 1.0)
