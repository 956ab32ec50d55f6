"""A vision-language model on the pictures of localisation: its answers as rankings, its posterior, places and pace.

The answer to a centred view is doubted twice, in the paper's words (section 3.3 and its public prompts): "re-evaluate"
on every view, then "incorrect", said only of a pair that truly lacks the centred landmark.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import cycle
from time import perf_counter
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from loopwright.agents.carm.formats import Centred, Retrieval
from loopwright.agents.carm.prompts import Doubted
from loopwright.finetune.evaluate.carm.pictures import Pictures, PictureSets
from loopwright.finetune.evaluate.carm.rankings import Ranked, after_incorrect, of_scores
from loopwright.finetune.evaluate.carm.vlm import Vlm
from loopwright.finetune.measure import metrics
from loopwright.finetune.measure.rows import Row, averaged
from loopwright.schema import ImageRef
from loopwright.tools.carm.landmarks import LANDMARKS

SUCCESS_MM = 15.0
FREE_REPLIES = 100
"""Of at most how many pictures a local model is asked without a grammar: which format does it keep by itself?"""
TIMED = 20

T = TypeVar("T")


class Posteriors(NamedTuple):
    """(n, L) over the nearest landmark for each set of pictures."""

    body: NDArray[np.floating]
    centred: NDArray[np.floating]


class Said(NamedTuple):
    """All that one model says: what it ranks, its other rows, and its posteriors where its choices can be scored."""

    ranked: list[Ranked]
    rows: list[Row]
    posteriors: Posteriors | None


def hear(vlm: Vlm, world: str, pictures: PictureSets, half_view_mm: float) -> Said:
    """Ask `vlm` everything about both sets of pictures."""
    body, centred = (vlm.show(part.views.images) for part in pictures)
    nearest = vlm.retrieve(body)
    ranked = [_answered(vlm, pictures, centred, ranking_of(nearest.values, 3), nearest.formats)]
    rows = [_displacement_row(vlm, world, pictures.body, body, half_view_mm)]
    rows.append(latency_row(world, vlm.name, "retrieval", lambda ref: vlm.retrieve([ref]), body))
    if vlm.local is None:
        return Said(ranked, rows, None)
    posteriors = Posteriors(*(vlm.score_nearest(refs).probabilities for refs in (body, centred)))
    masks = (pictures.body.annotated, pictures.centred.annotated)
    ranked += [
        of_scores(vlm.name, "all, scored choices", *posteriors),
        of_scores(vlm.name, "annotated, scored choices", *posteriors, masks),
    ]
    rows.append(latency_row(world, vlm.name, "scored choices", lambda ref: vlm.score_nearest([ref]), body))
    some = range(0, len(body), -(-len(body) // FREE_REPLIES))
    formats = vlm.retrieve_freely([body[i] for i in some]).formats
    rows.append(
        averaged("format", world, vlm.name, "drawn freely", dict(formats), [pictures.body.cases[i] for i in some])
    )
    return Said(ranked, rows, posteriors)


def ranking_of(answers: Sequence[Retrieval | Centred | None], k: int) -> metrics.Ranking:
    """(n, k) landmark indices of answers with `k` landmarks each, -1 for a malformed one."""
    indices = [[LANDMARKS.index(name) for name in a.landmarks] if a is not None else [-1] * k for a in answers]
    return np.array(indices, dtype=np.intp).reshape(len(answers), k)


def latency_row(world: str, model: str, variant: str, call: Callable[[T], object], items: Iterable[T]) -> Row:
    """Median time of `call` on one of `TIMED` items after another, s; items are taken again where there are fewer."""
    taking = cycle(items)
    call(next(taking))  # loads and compiles what the others find ready
    times = []
    for _ in range(TIMED):
        item, begun = next(taking), perf_counter()
        call(item)
        times.append(perf_counter() - begun)
    figures = {"median_s": float(np.median(times))}
    return Row(what="latency", world=world, model=model, variant=variant, n=TIMED, n_cases=1, figures=figures)


def _answered(
    vlm: Vlm,
    pictures: PictureSets,
    refs: list[ImageRef],
    nearest: metrics.Ranking,
    formats: dict[str, NDArray[np.float64]],
) -> Ranked:
    """The answers in words, as rankings, and what becomes of the centred ones when they are doubted."""
    truth = pictures.centred.centred_on
    first = vlm.centre(refs)
    turns = {
        i: [Doubted(answer=answer, objection="re-evaluate")]
        for i, answer in enumerate(first.values)
        if answer is not None
    }
    again = _corrected(vlm, refs, turns)
    insisted = {
        i: [*turns[i], Doubted(answer=answer, objection="incorrect")]
        for i, answer in again.items()
        if answer is not None and LANDMARKS[truth[i]] not in answer.landmarks
    }
    last = again | _corrected(vlm, refs, insisted)
    second, third = (ranking_of([answers.get(i) for i in range(len(refs))], 2) for answers in (again, last))
    after: dict[str, ArrayLike] = {f"h{k}_re_evaluated": metrics.hit_at(second, truth, k) for k in (1, 2)}
    return Ranked(
        vlm.name, "all", nearest, ranking_of(first.values, 2), formats,
        after | dict(after_incorrect(second, third, truth)),
    )  # fmt: skip


def _corrected(vlm: Vlm, refs: list[ImageRef], turns: dict[int, list[Doubted]]) -> dict[int, Centred | None]:
    """The answers to the doubted turns of some of the pictures."""
    answers = vlm.correct([refs[i] for i in turns], list(turns.values()))
    return dict(zip(turns, answers.values, strict=True))


def _displacement_row(vlm: Vlm, world: str, body: Pictures, refs: list[ImageRef], half_view_mm: float) -> Row:
    """Error of the places of landmarks in view, in words of 5 mm; a malformed one is infinitely wrong."""
    seen = metrics.in_view(body.views.offsets_mm, half_view_mm)
    where = np.argwhere(seen)
    places = vlm.place([(refs[i], LANDMARKS[k]) for i, k in where])
    said = np.array([place or (np.inf, np.inf) for place in places.values], dtype=np.float64).reshape(-1, 2)
    error = metrics.offset_error_mm(said, body.views.offsets_mm[seen])
    return displacement_row(world, vlm.name, error, [body.cases[i] for i, _ in where])


def displacement_row(world: str, model: str, error_mm: NDArray[np.float64], clusters: Sequence[str]) -> Row:
    """Of the displacements of landmarks in view, one entry a landmark and view."""
    within: dict[str, ArrayLike] = {f"within_{SUCCESS_MM:.0f}_mm": error_mm < SUCCESS_MM}
    row = averaged("displacement", world, model, "in view", {"mean_mm": error_mm} | within, clusters)
    # An infinite error cannot be interpolated to.
    p95_mm = float(np.quantile(error_mm, 0.95, method="higher"))
    quantiles = {"median_mm": float(np.median(error_mm)), "p95_mm": p95_mm}
    return row.model_copy(update={"figures": row.figures | quantiles})
