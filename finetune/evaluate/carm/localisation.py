"""How well landmarks are found, by the network, by vision-language models and by both, beside chance and the prior.

Candidates are all landmarks (`all`), or those that the case is annotated with (`annotated`; the posterior is
renormalised). The truth is always the nearest *annotated* landmarks. A malformed answer counts as wrong.
"""

import json
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from loopwright.errors import BadInput
from loopwright.finetune.evaluate.carm.answers import Posteriors, displacement_row, hear, latency_row
from loopwright.finetune.evaluate.carm.fit import pooled_posteriors
from loopwright.finetune.evaluate.carm.pictures import Pictures, PictureSets, take_pictures
from loopwright.finetune.evaluate.carm.rankings import Ranked, chance_row, of_scores
from loopwright.finetune.evaluate.carm.vlm import Vlm
from loopwright.finetune.measure import metrics
from loopwright.finetune.measure.rows import Bar, Row, averaged
from loopwright.models.networks.carm import CArmLocaliser, Estimate
from loopwright.tools.carm.case import Case
from loopwright.tools.carm.geometry import Optics
from loopwright.tools.carm.landmarks import LANDMARKS

BASELINES = ("chance", "prior-frequency", "image-centre")
BARS = {
    "network": {"p1": 0.96, "p3": 0.85, "h1": 0.81, "h2": 0.92},
    "hybrid": {"p1": 0.995, "p3": 0.90, "exact_nearest": 0.85},
    "vlm-sft": {"strict_format": 1.0},
}
"""On unseen phantoms, all candidates. The network's: the best that the seed paper reports for either kind of model,
except that P@1 asks for its fine-tuned language models' .96 (its network has .995)."""


def evaluate_localisation(
    localiser: CArmLocaliser,
    cases: Iterable[Case],
    n_per_case: int,
    *,
    world: str,
    size_px: int = 256,
    seed: int = 0,
    optics: Optics | None = None,
    vlms: Sequence[Vlm] = (),
    confusion: bool = False,
) -> tuple[list[Row], list[Bar]]:
    """All rows for one world, and the bars (those of the phantoms; the real CT has none).

    Args:
        localiser: the network.
        cases: opened one at a time.
        n_per_case: `body` views of each case.
        world: what the rows call it; `phantom` has bars.
        size_px: edge of the rendered pictures.
        seed: of the views.
        optics: of the C-arm.
        vlms: what else is measured. The last one whose choices can be scored makes the hybrid with the network.
        confusion: also, for each landmark, what views centred on it are taken for.
    """
    if localiser.names != LANDMARKS:
        raise BadInput(f"`localiser` names {localiser.names!r}; expected {LANDMARKS!r}. Train it with this version.")
    optics = optics or Optics()
    half_view_mm = optics.field_of_view_mm / 2
    pictures = take_pictures(cases, n_per_case, size_px=size_px, seed=seed, optics=optics)
    estimates = (_estimate(localiser, pictures.body), _estimate(localiser, pictures.centred))
    network = Posteriors(estimates[0].posterior, estimates[1].posterior)
    heard = [hear(vlm, world, pictures, half_view_mm) for vlm in vlms]
    ranked = [*_by_prior(localiser, pictures), *(r for said in heard for r in said.ranked)]
    ranked += _by_posterior("network", network, pictures)
    places = Posteriors(*(-np.linalg.norm(estimate.offsets_mm, axis=2) for estimate in estimates))
    ranked += _by_posterior("network, by place", places, pictures)  # what it takes to lie nearest to the middle
    scored = [(vlm, said.posteriors) for vlm, said in zip(vlms, heard, strict=True) if said.posteriors]
    if scored:
        vlm, posteriors = scored[-1]
        both = (pooled_posteriors(*pair, vlm.pool_weight) for pair in zip(network, posteriors, strict=True))
        ranked += _by_posterior("hybrid", Posteriors(*both), pictures)
    rows = [chance_row(world, candidates, pictures) for candidates in ("all", "annotated")]
    rows += [one.row(world, pictures) for one in ranked]
    rows += _displacement_rows(world, pictures.body, estimates[0], half_view_mm)
    rows += _conformal_rows(world, localiser, pictures, estimates, half_view_mm)
    rows += _latency_rows(world, localiser, pictures.body, scored[-1][0] if scored else None)
    rows += [row for said in heard for row in said.rows]
    if confusion:
        shown = [one for one in ranked if one.variant == "all" and one.model not in BASELINES]
        rows += [row for one in shown for row in one.confusion(world, pictures)]
    return rows, bars_of(rows) if world == "phantom" else []


def bars_of(rows: Sequence[Row]) -> list[Bar]:
    """The bars of those rows that have any, and those of fine-tuning: nowhere worse than the base."""
    by_model = {r.model: r for r in rows if r.what == "localisation" and r.variant == "all"}
    bars = [
        Bar(f"{row.world} {model} {name}", row.figures[name], wanted)
        for model, row in by_model.items()
        for name, wanted in BARS.get(model, {}).items()
    ]
    if {"vlm-base", "vlm-sft"} <= by_model.keys():
        base, tuned = by_model["vlm-base"], by_model["vlm-sft"]
        bars += [
            Bar(f"{tuned.world} vlm-sft over vlm-base {name}", value, base.figures[name])
            for name, value in tuned.figures.items()
            if name != "n_centred"
        ]
    return bars


def _estimate(localiser: CArmLocaliser, pictures: Pictures) -> Estimate:
    images = pictures.views.images
    batches = [localiser.estimate(images[i : i + 256]) for i in range(0, len(images), 256)]
    return Estimate(*(np.concatenate(column) for column in zip(*batches, strict=True)))


def _by_posterior(model: str, posteriors: Posteriors, pictures: PictureSets) -> Iterator[Ranked]:
    yield of_scores(model, "all", *posteriors)
    yield of_scores(model, "annotated", *posteriors, (pictures.body.annotated, pictures.centred.annotated))


def _by_prior(localiser: CArmLocaliser, pictures: PictureSets) -> Iterator[Ranked]:
    """Whatever the picture, the landmarks by how often they were the nearest in training."""
    prior = np.array([json.loads(localiser.metadata["prior"])[name] for name in LANDMARKS])
    body, centred = (np.broadcast_to(prior, part.views.distance_mm.shape) for part in pictures)
    return _by_posterior("prior-frequency", Posteriors(body, centred), pictures)


def _displacement_rows(world: str, body: Pictures, network: Estimate, half_view_mm: float) -> Iterator[Row]:
    """Error of the displacement of landmarks in view, one entry a landmark and view; the baseline says `centred`."""
    true = body.views.offsets_mm
    seen = metrics.in_view(true, half_view_mm)
    clusters = [name for name, row in zip(body.cases, seen, strict=True) for _ in range(int(row.sum()))]
    for model, predicted in (("image-centre", np.zeros_like(true)), ("network", network.offsets_mm)):
        yield displacement_row(world, model, metrics.offset_error_mm(predicted, true)[seen], clusters)


def _conformal_rows(
    world: str, localiser: CArmLocaliser, pictures: PictureSets, estimates: Sequence[Estimate], half_view_mm: float
) -> Iterator[Row]:
    """Measured coverage and mean size at each calibrated level, for each set of views."""
    rule = localiser.calibration
    if rule is None:
        return
    for views, part, estimate in zip(PictureSets._fields, pictures, estimates, strict=True):
        error = metrics.offset_error_mm(estimate.offsets_mm, part.views.offsets_mm)
        posteriors = [dict(zip(LANDMARKS, map(float, p), strict=True)) for p in estimate.posterior]
        for level in rule.coverages:
            chosen = [rule.prediction_set(p, level) for p in posteriors]
            factors = np.array([rule.radius_mm(name, 1.0, level) or np.inf for name in LANDMARKS])
            radius = estimate.sigma_mm * factors
            values: dict[str, ArrayLike] = {
                "set_coverage": [float(LANDMARKS[t] in s) for t, s in zip(part.nearest, chosen, strict=True)],
                "set_size": [float(len(s)) for s in chosen],
                "radius_coverage": _mean_over_landmarks(error <= radius, part.annotated),
                "radius_in_view_mm": _mean_over_landmarks(radius, metrics.in_view(part.views.offsets_mm, half_view_mm)),
            }
            yield averaged("conformal", world, "network", f"{views} @ {level:.2f}", values, part.cases)


def _mean_over_landmarks(values: NDArray[np.generic], counted: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(n, L) to (n,) mean over the counted ones, NaN where there are none."""
    n = counted.sum(1)
    total = np.where(counted, values, 0).sum(1).astype(np.float64)
    return np.where(n > 0, total / np.maximum(n, 1), np.nan)


def _latency_rows(world: str, localiser: CArmLocaliser, body: Pictures, scored: Vlm | None) -> Iterator[Row]:
    """Of one `localise`, and of the same with the other half of the hybrid."""
    coverage = localiser.calibration.coverages[0] if localiser.calibration else 0.9
    images = body.views.images
    yield latency_row(world, "network", "", lambda image: localiser.localise(image, coverage), images)
    if scored is not None:

        def both(image: NDArray[np.uint8]) -> None:
            localiser.localise(image, coverage)
            scored.score_nearest(scored.show(image[None]))

        yield latency_row(world, "hybrid", "", both, images)
