"""When the C-arm's network does not know what it sees: the limits, fitted to walks over held-out phantoms.

A walk is what the loop does with the atlas navigator and nobody speaking: a picture, a motion, the next picture. The
phantoms are the calibration part's, which neither training, nor the choice of weights, nor a test has seen.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from loopwright.agents.carm.doubts import jump_mm
from loopwright.agents.carm.navigator import AtlasNavigator, Sighting, Situation, sightings_in
from loopwright.errors import BadInput
from loopwright.finetune.data.carm.rendered import seeds_of
from loopwright.finetune.data.carm.views import sample_body_poses
from loopwright.models.conformal import Gate, fit_gate
from loopwright.models.networks.carm import CArmLocaliser, calibration_path, load_carm_network
from loopwright.schema import ImageRef
from loopwright.settings import CArmSettings, settings
from loopwright.tools.carm.case import Case
from loopwright.tools.carm.geometry import Pose, in_plane_offset_mm
from loopwright.tools.carm.guard import Motion, MotionLimits
from loopwright.tools.carm.phantom import make_phantom
from loopwright.tools.carm.render import make_renderer, to_uint8
from loopwright.tools.carm.world import optics_of

Progress = Callable[[str], None]
PHANTOMS, WALKS, FALSE_ALARM_RATE = 100, 8, 0.02
"""How many calibration phantoms, walks over each, and the share of a new person's views that may be called unknown."""
MAX_VIEWS = 8
ARRIVAL_RADIUS_MM = 7.5
_NO_IMAGE = ImageRef(sha256="0" * 64, width_px=1, height_px=1)


class Walk(NamedTuple):
    """The least sigma of each view, and of a walk that ended over its target, how far its place moved at the last."""

    least_sigma_mm: list[float]
    jump_mm: float


def calibrate_gate(
    weights: Path,
    *,
    phantoms: int = PHANTOMS,
    walks: int = WALKS,
    false_alarm_rate: float = FALSE_ALARM_RATE,
    on_progress: Progress = lambda _: None,
) -> Gate:
    """Fit the gate of `weights` and write it into the calibration beside them.

    Args:
        weights: of the network; its conformal calibration lies beside it.
        phantoms: how many; fewer than 2 / `false_alarm_rate` give no limit to the jump, fewer than half of that none.
        walks: over each phantom, from anywhere over the body to any landmark.
        false_alarm_rate: of views that are called unknown; true arrivals are doubted for a jump half as often.
        on_progress: called with a line now and then.

    Raises:
        BadInput: the weights are not there or were not calibrated.
    """
    localiser, carm, path = load_carm_network(weights), settings().carm, calibration_path(weights)
    if localiser.calibration is None:
        raise BadInput(f"`{weights}` was never calibrated: there is no `{path}`. Make it as `train carm-network` does.")
    found: list[tuple[int, Walk]] = []
    for number, seed in enumerate(seeds_of("calibration", phantoms), start=1):
        rng = np.random.default_rng([seed, walks])
        found += [(seed, walk) for walk in walks_over(make_phantom(seed), walks, localiser, carm, rng)]
        if number % 10 == 0:
            on_progress(f"walked over {number} of {phantoms} phantoms")
    sigma = [(value, seed) for seed, walk in found for value in walk.least_sigma_mm]
    gate = fit_gate(
        false_alarm_rate,
        least_sigma_mm=[value for value, _ in sigma],
        views=[seed for _, seed in sigma],
        jump_mm=[walk.jump_mm for _, walk in found],
        arrivals=[seed for seed, _ in found],
    )
    localiser.calibration.model_copy(update={"gate": gate}).save(path)
    return gate


def walks_over(
    case: Case, n: int, localiser: CArmLocaliser, carm: CArmSettings, rng: np.random.Generator
) -> list[Walk]:
    """`n` walks, each from a random view of the body to a random landmark of the case."""
    starts, names = sample_body_poses(case, n, optics_of(carm), rng), sorted(case.landmarks)
    return [_walk(case, start, str(rng.choice(names)), localiser, carm) for start in starts]


def _walk(case: Case, start: Pose, target: str, localiser: CArmLocaliser, carm: CArmSettings) -> Walk:
    renderer = make_renderer("numba", case.volume, optics_of(carm))
    limits, pose = MotionLimits.of(carm, case.volume), start
    sightings: tuple[Sighting, ...] = ()
    before: Sequence[Sighting] = ()
    sigma: list[float] = []
    for _ in range(MAX_VIEWS):
        seen = localiser.localise(to_uint8(renderer.render(pose, carm.image_size_px)))
        sigma.append(seen.least_sigma_mm)
        situation = Situation(
            target=target, pose=pose, localisation=seen, image=_NO_IMAGE, sightings=sightings,
            field_of_view_mm=optics_of(carm).field_of_view_mm, max_step_mm=limits.max_step_mm,
            arrival_radius_mm=ARRIVAL_RADIUS_MM,
        )  # fmt: skip
        decision, found = AtlasNavigator().decide(situation), sightings_in(situation)
        if decision.arrived:
            off_mm = float(np.linalg.norm(in_plane_offset_mm(case.landmarks[target], pose)))
            is_true = off_mm <= carm.success_radius_mm
            return Walk(sigma, jump_mm(target, before, found) if is_true else float("nan"))
        sightings, before = sightings + found, found
        pose = _moved(pose, decision.motion, limits)
    return Walk(sigma, float("nan"))


def _moved(pose: Pose, motion: Motion, limits: MotionLimits) -> Pose:
    """After the motion, or half or a quarter of it where the guard would refuse; else where it was."""
    for share in (1.0, 0.5, 0.25):
        part = Motion(left_mm=share * motion.left_mm, caudal_mm=share * motion.caudal_mm)
        if limits.check_step(part, pose).ok:
            return part.applied_to(pose)
    return pose
