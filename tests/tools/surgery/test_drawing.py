"""Frames show what is visible: the same way for a seed, differently for a state, and legibly for a stranger."""

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray

from loopwright.tools.surgery.drawing import draw_moment, draw_scene
from loopwright.tools.surgery.procedure import BLEEDING, PROGRESS, Procedure, VisibleState
from loopwright.tools.surgery.simulator import simulate
from loopwright.tools.surgery.vocabulary import INSTRUMENTS

STATES = [VisibleState(progress=p, bleeding=b) for p in range(len(PROGRESS)) for b in BLEEDING]


def test_a_seed_draws_the_same_frame(procedure: Procedure) -> None:
    moment = next(simulate(procedure, 4))
    frame = draw_moment(moment, size_px=64)
    assert frame.shape == (64, 64, 3) and frame.dtype == np.uint8
    assert np.array_equal(frame, draw_moment(moment, size_px=64))
    assert not np.array_equal(frame, draw_moment(moment, frame=1, size_px=64))


def test_states_look_different_to_the_same_camera() -> None:
    """No two of a patient's 30 states differ in less than 0.4 % of the picture, where cameras hold still."""
    frames = [draw_scene(state, ["grasper"], patient=1, size_px=64).pixels.astype(int) for state in STATES]
    for (one, a), (other, b) in itertools.combinations(zip(STATES, frames, strict=True), 2):
        changed = (np.abs(a - b).max(axis=2) > 24).mean()
        assert changed > 0.004, (one, other)


def test_each_instrument_looks_different() -> None:
    state = VisibleState(progress=4)
    bare = draw_scene(state, [], patient=1, size_px=64).pixels.astype(int)
    frames = [bare, *(draw_scene(state, [name], patient=1, size_px=64).pixels.astype(int) for name in INSTRUMENTS)]
    for a, b in itertools.combinations(frames, 2):
        assert (np.abs(a - b).max(axis=2) > 24).mean() > 0.01


def test_a_reader_who_never_saw_the_patient_reads_bleeding() -> None:
    """Ridge regression on 16 x 16 pixels, from 14 patients to 6 others."""
    asked = [state for state in STATES if state.progress % 3 == 0]

    def drawn(patients: range) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        rows, answers = [], []
        for patient in patients:
            for i, state in enumerate(asked):
                tools = ["grasper", INSTRUMENTS[1 + (patient + i) % 5]]
                frame = draw_scene(state, tools, patient=patient, view=(i,), size_px=48).pixels
                rows.append(frame.reshape(16, 3, 16, 3, 3).mean(axis=(1, 3)).ravel() / 255)
                answers.append(BLEEDING.index(state.bleeding))
        return np.column_stack([np.array(rows), np.ones(len(rows))]), np.array(answers)

    seen, answers = drawn(range(14))
    unseen, truth = drawn(range(100, 106))
    weights = np.linalg.solve(seen.T @ seen + 1.0 * np.eye(seen.shape[1]), seen.T @ np.eye(3)[answers])
    assert ((unseen @ weights).argmax(axis=1) == truth).mean() > 0.9


@pytest.mark.parametrize(
    ("progress", "adhesions", "exposure", "vessels", "thirds"),
    [
        (0, 2, 0, 0, 0),
        (1, 1, 0, 0, 0),
        (3, 0, 1, 0, 0),
        (4, 0, 2, 0, 0),
        (5, 0, 2, 1, 0),
        (6, 0, 2, 2, 0),
        (9, 0, 2, 2, 3),
    ],
)
def test_progress_is_what_is_seen(progress: int, adhesions: int, exposure: int, vessels: int, thirds: int) -> None:
    state = VisibleState(progress=progress)
    seen = (state.adhesions, state.exposure, state.vessels_clipped, state.thirds_detached)
    assert seen == (adhesions, exposure, vessels, thirds)


def test_a_tip_is_where_its_instrument_is_drawn() -> None:
    """What an instrument changes in the picture reaches to its tip."""
    for patient, name in enumerate(INSTRUMENTS):
        state = VisibleState(progress=4)
        bare, scene = (draw_scene(state, tools, patient=patient) for tools in ([], [name]))
        assert not bare.tips and list(scene.tips) == [name]
        changed = np.abs(scene.pixels.astype(int) - bare.pixels).max(axis=2) > 24
        row, column = np.nonzero(changed)
        x, y = (np.array(scene.tips[name]) + 1) * 64
        assert np.hypot(column - x, row - y).min() < 6
