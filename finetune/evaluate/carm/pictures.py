"""The pictures that localisation is measured on, the truth about them.

Two sets of AP views a case: `body`, uniform over the body on the mid-coronal plane, and `centred`, one on each
landmark that the case is annotated with.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from loopwright.errors import BadInput
from loopwright.finetune.data.carm.views import Views, centred_poses, render_views, sample_body_poses
from loopwright.finetune.measure import metrics
from loopwright.tools.carm.case import Case
from loopwright.tools.carm.geometry import Optics
from loopwright.tools.carm.landmarks import LANDMARKS


class Pictures(NamedTuple):
    """Views of all cases and the case that each of the n shows."""

    views: Views
    cases: list[str]

    @property
    def annotated(self) -> NDArray[np.bool_]:
        """(n, L) the landmarks that the view's case has."""
        return ~np.isnan(self.views.distance_mm)

    @property
    def nearest(self) -> NDArray[np.intp]:
        """(n,) the landmark nearest to the isocentre, in three dimensions (as the paper)."""
        return metrics.nearest(self.views.distance_mm)[:, 0]

    @property
    def centred_on(self) -> NDArray[np.intp]:
        """(n,) the landmark nearest to the centre of the picture."""
        distance = np.linalg.norm(self.views.offsets_mm, axis=-1)
        return np.asarray(np.nanargmin(distance, axis=1), dtype=np.intp)


class PictureSets(NamedTuple):
    """`body` for P@k, R@k and displacements; `centred` for Hit@k."""

    body: Pictures
    centred: Pictures


def take_pictures(
    cases: Iterable[Case], n_per_case: int, *, size_px: int = 256, seed: int = 0, optics: Optics | None = None
) -> PictureSets:
    """Render both sets of views of `cases`, which are opened one at a time.

    Raises:
        BadInput: there are no cases.
    """
    optics = optics or Optics()
    body: list[tuple[str, Views]] = []
    centred: list[tuple[str, Views]] = []
    for number, case in enumerate(cases):
        poses = sample_body_poses(case, n_per_case, optics, np.random.default_rng([seed, number]))
        body.append((case.name, render_views(case, poses, optics, size_px)))
        on_landmark = centred_poses(case)
        ordered = [on_landmark[name] for name in LANDMARKS if name in on_landmark]
        centred.append((case.name, render_views(case, ordered, optics, size_px)))
    if not body:
        raise BadInput("`cases` is empty; expected at least one case to measure on.")
    return PictureSets(_joined(body), _joined(centred))


def pooled(sets: PictureSets) -> Pictures:
    """All views of both sets."""
    return _joined([("", pictures.views) for pictures in sets])._replace(cases=sets.body.cases + sets.centred.cases)


def _joined(parts: Sequence[tuple[str, Views]]) -> Pictures:
    views = Views(
        images=np.concatenate([v.images for _, v in parts]),
        offsets_mm=np.concatenate([v.offsets_mm for _, v in parts]),
        distance_mm=np.concatenate([v.distance_mm for _, v in parts]),
        poses=np.concatenate([v.poses for _, v in parts]),
    )
    return Pictures(views, [name for name, v in parts for _ in range(len(v))])
