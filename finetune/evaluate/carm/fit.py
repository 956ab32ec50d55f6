"""What a model card and the hybrid localiser need to be told, measured on validation phantoms: no test case is seen.

The temperature makes the scored choices honest (`loopwright.models.temperature`). The weight is that of the
vision-language model in the product with the network's posterior, by the likelihood of the truth. The standard
deviations are those of stated places, which carry none of their own.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from loopwright.agents.carm.localisers import POOL_WEIGHT, pool
from loopwright.errors import BadInput
from loopwright.finetune.evaluate.carm.pictures import Pictures, pooled, take_pictures
from loopwright.finetune.evaluate.carm.vlm import Vlm
from loopwright.finetune.measure.metrics import in_view
from loopwright.models.networks.carm import CArmLocaliser
from loopwright.models.temperature import expected_calibration_error, fit_temperature
from loopwright.schema import Frozen, ImageRef
from loopwright.tools.carm.case import Case
from loopwright.tools.carm.geometry import Optics
from loopwright.tools.carm.landmarks import LANDMARKS

WEIGHTS = tuple(round(0.05 * i, 2) for i in range(41))
"""0 to 2. At 0 the network is alone, at 1 both count alike."""
PLACES_PER_VIEW = 4


class PlaceError(Frozen):
    """Of stated places, against the truth: the root mean square along one axis and the median distance, mm."""

    n: int
    sd_mm: float
    median_mm: float


class Fit(Frozen):
    """What was found, `choice_temperature` and `pool_weight` as a card has them. Its `place_sd_mm` is here in `places`.

    Log likelihoods are the mean of the truth's, natural; `ece` is the calibration error.
    """

    n: int
    n_cases: int
    choice_temperature: dict[str, float]
    ece_before: float
    ece_after: float
    pool_weight: dict[str, float]
    log_likelihood: dict[str, float]
    by_weight: dict[str, float]
    places: dict[str, PlaceError]


def fit(
    localiser: CArmLocaliser,
    vlm: Vlm,
    cases: Iterable[Case],
    n_per_case: int,
    *,
    size_px: int = 256,
    seed: int = 0,
    optics: Optics | None = None,
) -> Fit:
    """Fit on `n_per_case` body views and all centred views of each case.

    Raises:
        BadInput: the model is not local, or there are no cases.
    """
    if vlm.local is None:
        raise BadInput(
            f"The model of `{vlm.name}` is not local: its choices cannot be scored, so nothing can be fitted."
        )
    optics = optics or Optics()
    pictures = pooled(take_pictures(cases, n_per_case, size_px=size_px, seed=seed, optics=optics))
    images = pictures.views.images
    refs = vlm.show(images)
    network = np.concatenate([localiser.estimate(images[i : i + 256]).posterior for i in range(0, len(images), 256)])
    log_probs, truth = vlm.score_nearest(refs).log_probs, pictures.nearest
    temperature = fit_temperature(log_probs, truth)
    honest = softmax(log_probs / temperature, axis=1)
    by_weight = {w: log_likelihood(pooled_posteriors(network, honest, w), truth) for w in WEIGHTS}
    weight = max(WEIGHTS, key=by_weight.__getitem__)
    return Fit(
        n=len(images),
        n_cases=len(set(pictures.cases)),
        choice_temperature={vlm.local.adapter or "": temperature},
        ece_before=expected_calibration_error(softmax(log_probs, axis=1), truth),
        ece_after=expected_calibration_error(honest, truth),
        pool_weight={vlm.local.adapter or "": weight},
        log_likelihood={
            "network": by_weight[0.0],
            vlm.name: log_likelihood(honest, truth),
            "hybrid": by_weight[weight],
        },
        by_weight={str(w): value for w, value in by_weight.items()},
        places=_places(vlm, pictures, refs, optics.field_of_view_mm / 2, np.random.default_rng(seed)),
    )


def pooled_posteriors(
    network: NDArray[np.floating], model: NDArray[np.floating], weight: float = POOL_WEIGHT
) -> NDArray[np.float64]:
    """(n, L) posteriors to (n, L), as the hybrid localiser pools them."""
    pairs = zip(map(_named, network), map(_named, model), strict=True)
    return np.array([[*pool(one, other, weight).values()] for one, other in pairs])


def _named(posterior: NDArray[np.floating]) -> dict[str, float]:
    return dict(zip(LANDMARKS, posterior.tolist(), strict=True))


def log_likelihood(posterior: NDArray[np.floating], truth: NDArray[np.intp]) -> float:
    """Mean natural log of what (n, L) posteriors give the truth (n,)."""
    given = np.asarray(posterior[np.arange(len(truth)), truth], dtype=np.float64)
    return float(np.log(np.maximum(given, np.finfo(np.float64).tiny)).mean())


def _places(
    vlm: Vlm, pictures: Pictures, refs: list[ImageRef], half_view_mm: float, rng: np.random.Generator
) -> dict[str, PlaceError]:
    """Errors of places that are stated to be in view, and of those beyond: what is stated is all that is known then."""
    asked = [
        (i, k)
        for i, there in enumerate(pictures.annotated)
        for k in rng.choice(np.flatnonzero(there), size=min(PLACES_PER_VIEW, int(there.sum())), replace=False).tolist()
    ]
    said = np.array(vlm.place([(refs[i], LANDMARKS[k]) for i, k in asked]).values, dtype=np.float64)
    error = said - pictures.views.offsets_mm[tuple(np.transpose(asked))]
    shown = in_view(said, half_view_mm)
    return {name: _error(error[chosen]) for name, chosen in (("in view", shown), ("beyond", ~shown)) if chosen.any()}


def _error(error_mm: NDArray[np.float64]) -> PlaceError:
    """(n, 2) mm in two dimensions, summed up."""
    return PlaceError(
        n=len(error_mm),
        sd_mm=round(float(np.sqrt(np.square(error_mm).mean())), 1),
        median_mm=round(float(np.median(np.linalg.norm(error_mm, axis=1))), 1),
    )
