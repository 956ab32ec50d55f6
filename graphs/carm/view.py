"""How a step of the C-arm loop looks in the console, and what pointing at its picture may mean."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from loopwright.agents.carm.pointing import way_text
from loopwright.graphs.carm.drawings import OVERLAY, overlay
from loopwright.graphs.carm.report import PACKAGE, landmarks_of, ranked
from loopwright.graphs.carm.run import CArmRun
from loopwright.graphs.carm.steps import CArmStep
from loopwright.graphs.report import render_template
from loopwright.graphs.step_view import Picture, Pointed, StepView
from loopwright.graphs.steps import SessionStep
from loopwright.tools.carm.geometry import Pose, in_plane_offset_mm, view_axes

NEAR = 0.08
"""Of the picture's edge: how near to a mark pointing means it."""
CANDIDATES = 3
"""How many landmarks are offered as what is pointed at, the nearest by the localiser first."""
HERE_MM = 1.0
"""A way shorter than this leads nowhere."""


def show(run: CArmRun, prepared: Mapping[str, Any], step: SessionStep) -> StepView:
    """The exposure with what was seen and decided drawn over it, and the landmarks that are nearest."""
    one = CArmStep(**vars(step))
    seen = one.observation
    if seen is None:
        return StepView()
    decided, proposed, view_mm = one.decisions, one.proposed, prepared["field_of_view_mm"]
    target = decided[-1].target if decided else run.target[0]
    motion = proposed.motion if proposed else None
    drawn = overlay(one.localisation, seen.pose, motion, target, landmarks_of(prepared), view_mm)
    svg = render_template(
        "overlay.html.j2",
        PACKAGE,
        drawn=drawn,
        middle=OVERLAY / 2,
        envelope=_envelope(prepared, seen.pose, OVERLAY / view_mm),
        scale=seen.image.width_px / OVERLAY,
    )
    html = render_template("seen.html.j2", PACKAGE, **ranked(one.localisation), truth="")
    return StepView((Picture(seen.image, f"Exposure {seen.exposures}, towards {target}", svg),), html)


def pointed(run: CArmRun, prepared: Mapping[str, Any], step: SessionStep, at: Pointed) -> list[str]:
    """Where to go, what is there, and what is not."""
    one = CArmStep(**vars(step))
    seen = one.observation
    if seen is None:
        return []
    view_mm, edge_px = prepared["field_of_view_mm"], seen.image.width_px
    mm = view_mm / edge_px
    if at.to_px is not None:
        way = ((at.to_px[0] - at.at_px[0]) * mm, (at.to_px[1] - at.at_px[1]) * mm)
        return [f"go here: {_way(way, seen.pose)}"]
    offset = ((at.at_px[0] - edge_px / 2) * mm, (at.at_px[1] - edge_px / 2) * mm)
    here, found = _way(offset, seen.pose), one.localisation
    said = [f"go here: {here}"] if math.hypot(*offset) >= HERE_MM else []
    if found is None:
        return said
    away_mm = {name: math.dist(offset, place) for name, place in found.offsets_mm.items()}
    nearest = sorted(away_mm, key=away_mm.__getitem__)
    goals = [name for name in run.target if name not in nearest[:CANDIDATES]]
    said += [f"the {name} is here: {here}" for name in (*nearest[:CANDIDATES], *goals) if here]
    said += [f"that is the {name}" for name in nearest[:CANDIDATES] if not here]
    if away_mm[nearest[0]] <= NEAR * view_mm:
        said += [f"not this one: the {nearest[0]}", f"the target is {nearest[0]}"]
    return said


def _way(offset_mm: tuple[float, float], pose: Pose) -> str:
    """An offset on the picture (image right, image down) in patient directions."""
    axes = view_axes(pose)
    x, y, z = (float(v) for v in offset_mm[0] * axes.u + offset_mm[1] * axes.v)
    return way_text(-x, -z, y)


def _envelope(prepared: Mapping[str, Any], pose: Pose, scale: float) -> str:
    """Where the isocentre may go, as a polygon's points on the overlay."""
    (x0, _, z0), (x1, _, z1) = prepared["limits"]["low_world"], prepared["limits"]["high_world"]
    corners = np.array([(x, pose.y_mm, z) for x, z in ((x0, z0), (x1, z0), (x1, z1), (x0, z1))])
    points = OVERLAY / 2 + in_plane_offset_mm(corners, pose) * scale
    return " ".join(f"{u:.1f},{v:.1f}" for u, v in points)
