"""Does the loop know what it does not know? Views and sessions over known anatomy, and over what nobody trained on.

A view asks where a clinician would be asked about it under `on_uncertain=ask`. A session is a real one with nobody to
ask; it claims falsely where it says that its target is centred and the target lies more than `FALSE_MM` away, or is not
in the volume at all. The baseline is the same loop without the gate's limits.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from loopwright.finetune.data.carm.rendered import seeds_of
from loopwright.finetune.data.carm.views import sample_body_poses
from loopwright.finetune.evaluate.carm.navigation import NavigationRun, navigate, whole_phantoms
from loopwright.finetune.measure.rows import Row, averaged
from loopwright.graphs.carm import LOOP
from loopwright.graphs.carm.nodes import image_of
from loopwright.graphs.carm.roles import make_localiser
from loopwright.graphs.carm.run import CArmRun, carm_network, opened_case
from loopwright.graphs.loop.context import Context
from loopwright.graphs.loop.declare import State
from loopwright.models.networks.localisation import Localisation
from loopwright.settings import settings
from loopwright.tools.carm.case import Case
from loopwright.tools.carm.geometry import Pose
from loopwright.tools.carm.landmarks import LANDMARKS
from loopwright.tools.carm.phantom.strangers import STRANGERS
from loopwright.tools.carm.render import make_renderer, to_uint8
from loopwright.tools.carm.world import optics_of

FALSE_MM = 50.0
VIEWS = 20
"""Of each volume."""


class Volumes(NamedTuple):
    """The volumes of one row, and whether the network was trained on their kind."""

    name: str
    specs: list[str]
    is_known: bool


def volumes_of(worlds: Sequence[str], n: int) -> list[Volumes]:
    """The known worlds, and `n` volumes of each kind of stranger."""
    known = {"phantom": lambda: whole_phantoms(n), "chest": lambda: ["chest"]}
    seeds = seeds_of("test", n)
    return [
        *(Volumes(world, known[world](), is_known=True) for world in worlds),
        *(Volumes(kind, [f"stranger:{kind}:{seed}" for seed in seeds], is_known=False) for kind in STRANGERS),
    ]


def evaluate_strangers(
    volumes: Sequence[Volumes], n: int, *, seed: int, on_run: Callable[[NavigationRun], None]
) -> list[Row]:
    """Two rows for each of `volumes`: what is asked and claimed with the gate, and without it.

    Args:
        volumes: what to look at.
        n: sessions over each of them, spread evenly.
        seed: of views, starts and targets.
        on_run: told each session as it ends.
    """
    rows = []
    for of in volumes:
        rng = np.random.default_rng([seed, *of.name.encode()])  # whatever else is looked at
        views = [(spec, seen) for spec in of.specs for seen in _views(spec, of, rng)]
        runs = list(itertools.islice(_runs(of, n, rng), n))
        for model, loop, is_gated in (("gate", LOOP, True), ("no gate", UNGATED, False)):
            asks = [must_ask(seen if is_gated else without_gate(seen)) for _, seen in views]
            ended = navigate(runs, on_run, loop=loop)
            rows.append(_row(of, model, asks, [spec for spec, _ in views], ended))
    return rows


def must_ask(seen: Localisation) -> bool:
    """Whether a session that may ask asks about this view, with a run's own defaults."""
    most = CArmRun.model_fields["max_set_size"].default
    return not seen.is_known or (seen.nearest_set is not None and not 1 <= len(seen.nearest_set) <= most)


def without_gate(seen: Localisation) -> Localisation:
    """What was seen, without the limits of what is known."""
    return seen.model_copy(update={"known_sigma_mm": None, "known_jump_mm": None})


def localise_without_gate(state: State, ctx: Context) -> None:
    """Say what the picture shows, and know everything."""
    seen = without_gate(make_localiser(ctx).localise(image_of(state), ctx))
    state["localisation"] = ctx.computed("localised", seen.model_dump(mode="json"))


UNGATED = LOOP.replace(localise=localise_without_gate)


def _row(of: Volumes, model: str, asks: list[bool], viewed: list[str], runs: Sequence[NavigationRun]) -> Row:
    is_false = [r.claimed and not r.distance_mm <= FALSE_MM for r in runs]
    values: dict[str, ArrayLike] = {
        "false_claims": is_false,
        "claimed": [r.claimed for r in runs],
        "not_found": [r.status == "not_found" for r in runs],
        "exposures": [r.exposures for r in runs],
    }
    if of.is_known:
        values["success"] = [r.success for r in runs]
    row = averaged("strangers", of.name, model, "known" if of.is_known else "strange", values, [r.volume for r in runs])
    views = averaged("strangers", of.name, model, "", {"asks": asks}, viewed)
    figures = {**row.figures, **views.figures, "n_views": len(asks), "n_false": sum(is_false)}
    return row.model_copy(update={"figures": figures, "intervals": {**row.intervals, **views.intervals}})


def _views(spec: str, of: Volumes, rng: np.random.Generator) -> list[Localisation]:
    case, carm = opened_case(spec, None), settings().carm
    renderer = make_renderer("numba", case.volume, optics_of(carm))
    pictures = (to_uint8(renderer.render(pose, carm.image_size_px)) for pose in _poses(case, of, VIEWS, rng))
    return [carm_network().localise(picture) for picture in pictures]


def _runs(of: Volumes, n: int, rng: np.random.Generator) -> "itertools.chain[tuple[str, str, str]]":
    """(volume, start, target), volume by volume; the start is a pose."""
    share = -(-n // len(of.specs))
    return itertools.chain.from_iterable(_runs_over(spec, of, share, rng) for spec in of.specs)


def _runs_over(spec: str, of: Volumes, n: int, rng: np.random.Generator) -> list[tuple[str, str, str]]:
    case = opened_case(spec, None)
    targets = sorted(case.landmarks) or LANDMARKS
    starts = (f"{pose.x_mm:.1f},{pose.y_mm:.1f},{pose.z_mm:.1f}" for pose in _poses(case, of, n, rng))
    return [(spec, start, str(rng.choice(targets))) for start in starts]


def _poses(case: Case, of: Volumes, n: int, rng: np.random.Generator) -> list[Pose]:
    """AP views of the body where it is known, else of the middle of the volume, where there may be nothing to see."""
    if of.is_known:
        return sample_body_poses(case, n, optics_of(settings().carm), rng)
    low, high = case.volume.bounds_world
    at = low + (high - low) * rng.uniform(0.15, 0.85, (n, 3))
    return [Pose(x_mm=float(x), y_mm=case.volume.mid_coronal_y_mm, z_mm=float(z)) for x, _, z in at]
