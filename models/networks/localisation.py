"""What a localiser says about one picture: a plain value, so that agents, logs and reports need no torch."""

from pydantic import Field

from loopwright.schema import Frozen


class Localisation(Frozen):
    """Where the landmarks are, seen from one picture.

    `nearest` is the posterior of being the landmark nearest to the isocentre. `offsets_mm` is (image right, image
    down): how far to move the view to centre each landmark; in the AP view that is (patient-left, caudal).
    `sigma_mm` is the standard deviation of its error along one axis, in view or not.

    `nearest_set` and `radius_mm` (of a disc about the offset) are meant for `coverage`. The network's are
    split-conformal: they hold it on average over the calibration population, and are None where the weights were never
    calibrated. A vision-language model's set is credible: the fewest landmarks whose posterior sums to `coverage`, no
    better than the posterior is calibrated. The hybrid's is the network's with the pool's first landmark added. An
    empty set says that no landmark is plausible.

    `known_sigma_mm` and `known_jump_mm` are the limits of `loopwright.models.conformal.Gate`; None: there are none.
    """

    nearest: dict[str, float]
    offsets_mm: dict[str, tuple[float, float]]
    sigma_mm: dict[str, float]
    coverage: float | None = Field(default=None, gt=0, lt=1)
    nearest_set: tuple[str, ...] | None = None
    radius_mm: dict[str, float | None] | None = Field(
        default=None, description="None for a landmark that the calibration saw in too few volumes for `coverage`"
    )

    known_sigma_mm: float | None = Field(default=None, description="a view whose least sigma is above it is unknown")
    known_jump_mm: float | None = Field(
        default=None, description="a target whose place moved further since the last view is not centred for sure"
    )

    @property
    def least_sigma_mm(self) -> float:
        """Of the landmark whose place is known best."""
        return min(self.sigma_mm.values())

    @property
    def is_known(self) -> bool:
        """Whether the picture is like those that the localiser was calibrated on, as far as it can tell."""
        return self.known_sigma_mm is None or self.least_sigma_mm <= self.known_sigma_mm

    @property
    def ranking(self) -> tuple[str, ...]:
        """All landmarks, most probably nearest first; equal ones in the model's own order."""
        return tuple(sorted(self.nearest, key=self.nearest.__getitem__, reverse=True))

    def among(self, candidates: tuple[str, ...]) -> dict[str, float]:
        """The posterior given that the nearest landmark is one of `candidates`.

        A posterior that rounded to zero on all of them gives equal shares.
        """
        total = sum(self.nearest[name] for name in candidates)
        if total == 0.0:
            return {name: 1.0 / len(candidates) for name in candidates}
        return {name: self.nearest[name] / total for name in candidates}
