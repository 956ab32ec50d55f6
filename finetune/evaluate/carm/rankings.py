"""Rows for whatever ranks landmarks: a posterior, a model's answers, the prior, chance. The seed paper's two tables.

A ranking is (n, K) landmark indices, best first, K at least 3 on body views and 2 on centred ones; -1 stands for a
malformed answer and is right nowhere.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from loopwright.finetune.evaluate.carm.pictures import Pictures, PictureSets
from loopwright.finetune.measure import metrics
from loopwright.finetune.measure.rows import Row, averaged
from loopwright.tools.carm.landmarks import LANDMARKS

MALFORMED = "malformed"


class Ranked(NamedTuple):
    """What one model says about both sets of pictures.

    Attributes:
        model: name of its rows.
        variant: whatever else tells its rows apart, such as the candidates.
        body: (n, K) of the body views.
        centred: (m, K) of the centred views.
        of_body: further figures of the body views, each (n,).
        of_centred: further figures of the centred views, each (m,).
    """

    model: str
    variant: str
    body: metrics.Ranking
    centred: metrics.Ranking
    of_body: Mapping[str, ArrayLike] = {}
    of_centred: Mapping[str, ArrayLike] = {}

    def row(self, world: str, pictures: PictureSets) -> Row:
        """P, R, exact nearest and ordered triple on body views; Hit on centred views, `n_centred` of them."""
        body, centred = pictures
        values = _ranking_values(self.body, body) | dict(self.of_body)
        row = averaged("localisation", world, self.model, self.variant, values, body.cases)
        values = hits(self.centred, centred.centred_on) | dict(self.of_centred)
        of_centred = averaged("localisation", world, self.model, self.variant, values, centred.cases)
        return row.model_copy(
            update={
                "figures": row.figures | of_centred.figures | {"n_centred": float(of_centred.n)},
                "intervals": row.intervals | of_centred.intervals,
            }
        )

    def confusion(self, world: str, pictures: PictureSets) -> Iterator[Row]:
        """A row a landmark, its name the variant: how often a view centred on it is taken for which (Fig. 3a)."""
        truth, said = pictures.centred.centred_on, self.centred[:, 0]
        for landmark in np.unique(truth):
            views = np.flatnonzero(truth == landmark)
            names, counts = np.unique([_name(i) for i in said[views]], return_counts=True)
            figures = {str(name): float(count) / len(views) for name, count in zip(names, counts, strict=True)}
            yield Row(
                what="confusion",
                world=world,
                model=self.model,
                variant=LANDMARKS[landmark],
                n=len(views),
                n_cases=len({pictures.centred.cases[i] for i in views}),
                figures=figures,
            )


def of_scores(
    model: str,
    variant: str,
    body: NDArray[np.floating],
    centred: NDArray[np.floating],
    candidates: tuple[NDArray[np.bool_], NDArray[np.bool_]] | None = None,
) -> Ranked:
    """The ranking that scores (n, L) and (m, L) give, among all landmarks or the `candidates` of either set.

    Whoever ranks all landmarks has a next pair at hand when told that the first was incorrect.
    """
    among = candidates or (None, None)
    return Ranked(model, variant, metrics.rank(body, among[0]), metrics.rank(centred, among[1]))


def hits(ranking: metrics.Ranking, truth: NDArray[np.intp]) -> dict[str, ArrayLike]:
    """Hit@1 and @2, and both after "incorrect" where the ranking goes on: a pair without the truth gives way to the
    next one."""
    values: dict[str, ArrayLike] = {f"h{k}": metrics.hit_at(ranking, truth, k) for k in (1, 2)}
    if ranking.shape[1] >= 4:
        values |= after_incorrect(ranking[:, :2], ranking[:, 2:4], truth)
    return values


def after_incorrect(
    before: metrics.Ranking, after: metrics.Ranking, truth: NDArray[np.intp]
) -> dict[str, NDArray[np.float64]]:
    """Hit@1 and @2 when the clinician calls a pair of `before` (m, 2) incorrect that has not the truth in it, and so
    gets that of `after`."""
    wrong = metrics.hit_at(before, truth, 2) == 0
    final = np.where(wrong[:, None], after, before)
    return {f"h{k}_incorrect": metrics.hit_at(final, truth, k) for k in (1, 2)}


def chance_row(world: str, candidates: str, pictures: PictureSets) -> Row:
    """Exact expectations of a uniformly random ranking of `all` landmarks or of the `annotated` ones."""
    m, c = (
        p.annotated.sum(1) if candidates == "annotated" else np.full(len(p.cases), len(LANDMARKS)) for p in pictures
    )
    figures = {f"p{k}": float((3 / m).mean()) for k in (1, 2, 3)} | {f"r{k}": float((k / m).mean()) for k in (1, 2, 3)}
    figures |= {"exact_nearest": float((1 / m).mean()), "ordered_triple": float((1 / (m * (m - 1) * (m - 2))).mean())}
    figures |= {f"h{k}": float((k / c).mean()) for k in (1, 2)}
    figures |= {"h1_incorrect": float((2 / c).mean()), "h2_incorrect": float((4 / c).mean())}
    figures |= {"n_centred": float(len(c))}
    n_cases = len(set(pictures.body.cases))
    return Row(
        what="localisation", world=world, model="chance", variant=candidates, n=len(m), n_cases=n_cases, figures=figures
    )


def _ranking_values(ranking: metrics.Ranking, pictures: Pictures) -> dict[str, ArrayLike]:
    distance = pictures.views.distance_mm
    values: dict[str, ArrayLike] = {f"p{k}": metrics.precision_at(ranking, distance, k) for k in (1, 2, 3)}
    values |= {f"r{k}": metrics.recall_at(ranking, distance, k) for k in (1, 2, 3)}
    return values | {
        "exact_nearest": metrics.exact_nearest(ranking, distance),
        "ordered_triple": metrics.ordered_triple(ranking, distance),
    }


def _name(index: int) -> str:
    return LANDMARKS[index] if index >= 0 else MALFORMED
