"""Split-conformal calibration when pictures come in groups (many views of one patient).

Views of one patient are not exchangeable with views of another, patients are. So each group weighs the same and the
weight 1 / (K + 1) of the group that is still to come sits at infinity: hierarchical conformal prediction (Lee, Barber
and Willett, "Distribution-free inference with hierarchical data", 2023). A random view of a *new* group is then covered
with probability >= the nominal one; with one view a group it is ordinary split-conformal prediction. Knows scores, no
network.

Scores: 1 - posterior of the true class for sets (LAC; Sadinle, Lei and Wasserman 2019), ||error|| / sigma for radii
(Arrabi et al., "Automated C-arm positioning via conformal landmark localization", ICCVW 2025).
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field, ValidationError

from loopwright.errors import BadInput, IntegrityError
from loopwright.schema import Frozen

COVERAGES = (0.90, 0.95, 0.97)
JUMP_MARGIN = 2.0
"""Times the quantile of phantoms: on the one real CT sightings of a true arrival jump up to 16 mm, on phantoms 12."""


def quantile(scores: ArrayLike, groups: ArrayLike, coverage: float) -> float:
    """The smallest score threshold that covers a view of a new group with probability >= `coverage`.

    Args:
        scores: (n,) nonconformity; NaN entries are left out.
        groups: (n,) any labels; equal labels are one group.
        coverage: in (0, 1).

    Returns:
        The threshold; infinity where there are too few groups to promise `coverage` (fewer than c / (1 - c)).
    """
    if not 0 < coverage < 1:
        raise BadInput(f"`coverage` is {coverage!r}; expected a number between 0 and 1.")
    values, labels = np.asarray(scores, dtype=np.float64), np.asarray(groups)
    if values.shape != labels.shape or values.ndim != 1:
        raise BadInput(f"`scores` {values.shape} and `groups` {labels.shape} must be of one shape (n,).")
    kept = ~np.isnan(values)
    values, labels = values[kept], labels[kept]
    _, member, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    weights = 1.0 / ((len(sizes) + 1) * sizes[member])
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(weights[order]) >= coverage - 1e-12
    return float(values[order][np.argmax(reached)]) if reached.any() else float("inf")


class Gate(Frozen):
    """When a localiser does not know what it sees: limits that views of a new, known person rarely exceed.

    Quantiles like those of a `Calibration`. A view that is called unknown costs a question, a doubted arrival
    a success: so the jump has half the rate. None stands for infinity.
    """

    false_alarm_rate: float = Field(gt=0, lt=1, description="of known views by the sigma; of true arrivals, half of it")
    n_groups: int
    n_views: int
    n_arrivals: int
    known_sigma_mm: float | None = Field(description="the surest landmark of a known view is at least as sure as this")
    known_jump_mm: float | None = Field(
        description="a landmark that is truly centred moved no further between the last two views that show it"
    )


class Calibration(Frozen):
    """The quantiles that belong to one weights file. None stands for infinity, which JSON cannot hold."""

    weights_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    n_groups: int
    n_views: int
    set_threshold: dict[str, float | None] = Field(description="coverage -> largest 1 - posterior that is in the set")
    radius_factor: dict[str, dict[str, float | None]] = Field(description="coverage -> landmark -> radius / sigma")
    gate: Gate | None = None

    @property
    def coverages(self) -> tuple[float, ...]:
        """The nominal levels, ascending."""
        return tuple(sorted(float(c) for c in self.set_threshold))

    def prediction_set(self, posterior: Mapping[str, float], coverage: float) -> tuple[str, ...]:
        """The names that may be the nearest, most probable first; empty where the posterior is too flat for any."""
        threshold = self.set_threshold[self._key(coverage)]
        ranked = sorted(posterior, key=posterior.__getitem__, reverse=True)
        if threshold is None:
            return tuple(ranked)
        return tuple(n for n in ranked if 1.0 - posterior[n] <= threshold)

    def radius_mm(self, name: str, sigma_mm: float, coverage: float) -> float | None:
        """Radius in mm of the disc around the predicted offset that holds landmark `name`; None: no finite one."""
        factor = self.radius_factor[self._key(coverage)].get(name)
        return None if factor is None else factor * sigma_mm

    def _key(self, coverage: float) -> str:
        key = _key(coverage)
        if key not in self.set_threshold:
            raise BadInput(f"`coverage` is {coverage!r}; these weights were calibrated at {self.coverages}.")
        return key

    def save(self, path: Path) -> None:
        """Write the JSON that `load` reads."""
        path.write_text(self.model_dump_json(indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path, weights_sha256: str) -> "Calibration":
        """Read a calibration and refuse it unless it was made for these very weights.

        Raises:
            BadInput: the file is not a calibration.
            IntegrityError: it belongs to other weights.
        """
        try:
            calibration = cls.model_validate_json(path.read_text(encoding="utf-8"))
        except (ValidationError, UnicodeDecodeError, json.JSONDecodeError) as error:
            raise BadInput(f"`{path}` is no conformal calibration: {error}. Run the calibration again.") from error
        if calibration.weights_sha256 != weights_sha256:
            raise IntegrityError(
                f"`{path}` was calibrated for weights {calibration.weights_sha256[:12]!r}, not for the "
                f"{weights_sha256[:12]!r} beside it. Calibrate these weights, or restore the ones it belongs to."
            )
        return calibration


def fit_gate(
    false_alarm_rate: float, least_sigma_mm: ArrayLike, views: ArrayLike, jump_mm: ArrayLike, arrivals: ArrayLike
) -> Gate:
    """The limits that held-out, known views exceed at `false_alarm_rate`.

    Args:
        false_alarm_rate: in (0, 1), of views.
        least_sigma_mm: (n,) of the surest landmark of each view.
        views: (n,) the volume that each view shows.
        jump_mm: (m,) how far the target's place moved at each true arrival; NaN where the view before does not show it.
        arrivals: (m,) the volume of each arrival.
    """
    labels = np.asarray(views)
    return Gate(
        false_alarm_rate=false_alarm_rate,
        n_groups=len(np.unique(labels)),
        n_views=len(labels),
        n_arrivals=int(np.isfinite(np.asarray(jump_mm, dtype=np.float64)).sum()),
        known_sigma_mm=_finite(quantile(least_sigma_mm, labels, 1 - false_alarm_rate)),
        known_jump_mm=_finite(JUMP_MARGIN * quantile(jump_mm, arrivals, 1 - false_alarm_rate / 2)),
    )


def calibrate(
    weights_sha256: str,
    names: Sequence[str],
    true_posterior: NDArray[np.float64],
    scaled_error: NDArray[np.float64],
    groups: ArrayLike,
    coverages: Sequence[float] = COVERAGES,
) -> Calibration:
    """Quantiles of both heads from held-out views.

    Args:
        weights_sha256: of the weights that made the predictions.
        names: the L landmarks.
        true_posterior: (n,) posterior of the class that was right.
        scaled_error: (n, L) ||error|| / sigma, NaN where a landmark has no position.
        groups: (n,) the volume that each view shows.
        coverages: nominal levels.
    """

    labels = np.asarray(groups)
    return Calibration(
        weights_sha256=weights_sha256,
        n_groups=len(np.unique(labels)),
        n_views=len(labels),
        set_threshold={_key(c): _finite(quantile(1.0 - true_posterior, labels, c)) for c in coverages},
        radius_factor={
            _key(c): {name: _finite(quantile(scaled_error[:, i], labels, c)) for i, name in enumerate(names)}
            for c in coverages
        },
    )


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _key(coverage: float) -> str:
    return f"{coverage:.2f}"
