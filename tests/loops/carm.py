"""The C-arm loop over a coarse phantom, with a localiser in the network's place that knows where the landmarks are."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from tests.scenario import Patient

from loopwright.graphs.carm import LOOP
from loopwright.graphs.loop.context import Context
from loopwright.models.networks.localisation import Localisation
from loopwright.tools.carm.geometry import Pose, in_plane_offset_mm


def see(state: dict[str, Any], ctx: Context) -> None:
    """Say what the picture shows, from where it was taken."""
    pose = Pose.model_validate(state["observation"]["pose"])
    offsets = {n: in_plane_offset_mm(np.array(point), pose).tolist() for n, point in ctx.prepared["landmarks"].items()}
    weights = {n: 1 / (1 + float(np.hypot(*offset))) for n, offset in offsets.items()}
    seen = Localisation(
        nearest={n: weight / sum(weights.values()) for n, weight in weights.items()},
        offsets_mm=offsets,
        sigma_mm=dict.fromkeys(offsets, 3.0),
        coverage=0.95,
        nearest_set=(max(weights, key=weights.__getitem__),),
    )
    state["localisation"] = ctx.computed("localised", seen.model_dump(mode="json"))


carm = LOOP.replace(localise=see)


def over_a_phantom(folder: Path) -> dict[str, Any]:
    """Settings of a short run; the patient lies in `folder`."""
    return _patient(folder).run("Carina", ("T12",))


@cache
def _patient(folder: Path) -> Patient:
    return Patient(folder)
