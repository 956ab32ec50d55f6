"""How well labels are predicted (Liu et al., Tables 2 and 3), and what a judge and SCSR make of them.

Rows `labels` are predictors, rows `selection` the same labels after SCSR, rows `ranking` average precisions of scores,
and rows `gain` paired differences of the same dishes.
"""

from collections.abc import Mapping, Sequence

from loopwright.agents.recipe.judge import SETS, Judge, Judged, LabelSet
from loopwright.agents.recipe.scsr import FEWEST, select
from loopwright.errors import NoAnswer
from loopwright.finetune.evaluate.recipe.cases import Case, Roles, Said, all_at_once
from loopwright.finetune.evaluate.recipe.figures import (
    Pair,
    average_precision,
    kitchen_bands,
    label_figures,
    label_gain,
)
from loopwright.finetune.measure.rows import Row

LABELS, SELECTION, RANKING, GAIN = "labels", "selection", "ranking", "gain"
MORE = 6
"""Another n than the paper's: about as many labels as a dish has."""
Kept = list[Mapping[LabelSet, tuple[str, ...]]]
"""Labels of either set, for each dish."""
Scores = list[Mapping[LabelSet, Judged | None]]
"""A judge's, of either set of each dish; None where it gave no answer that can be read."""


def pairs_of(cases: Sequence[Case], kept: Kept, what: LabelSet) -> list[Pair]:
    """What was said and what is true of each dish."""
    return [Pair(frozenset(labels[what]), case.true(what)) for case, labels in zip(cases, kept, strict=True)]


def label_rows(
    cases: Sequence[Case], name: str, kept: Kept, *, formats: Mapping[str, float] = {}, world: str = "simulated"
) -> list[Row]:
    """The rows of one predictor: actions and ingredients."""
    return [
        label_row(cases, LABELS, name, what, pairs_of(cases, kept, what), formats=formats, world=world) for what in SETS
    ]


def label_row(
    cases: Sequence[Case], kind: str, name: str, variant: str, pairs: Sequence[Pair], *,
    formats: Mapping[str, float] = {}, world: str = "simulated",
) -> Row:  # fmt: skip
    """One row of label figures; `variant` begins with the name of the set."""
    found = label_figures(pairs, kitchen_bands()["actions" if variant.startswith("actions") else "ingredients"])
    return Row(
        what=kind, world=world, model=name, variant=variant, n=len(cases), n_cases=len(cases),
        figures=found.values | dict(formats), intervals=found.intervals,
    )  # fmt: skip


def gain_rows(cases: Sequence[Case], name: str, before: Kept, after: Kept, *, over: str) -> list[Row]:
    """What the labels of `name` gain over others, dish by dish."""
    rows = []
    for what in SETS:
        found = label_gain(pairs_of(cases, before, what), pairs_of(cases, after, what), kitchen_bands()[what])
        rows.append(
            Row(
                what=GAIN,
                world="simulated",
                model=name,
                variant=f"{what}, over {over}",
                n=len(cases),
                n_cases=len(cases),
                figures=found.values,
                intervals=found.intervals,
            )
        )
    return rows


def judged(cases: Sequence[Case], said: Sequence[Said], judges: Sequence[Judge], asker: Roles) -> Scores:
    """A judge's scores of both sets of each dish; `judges` has one for each. A set that it did not score has none."""

    def one(question: tuple[int, LabelSet]) -> Judged | None:
        place, what = question
        try:
            return judges[place].scores(what, said[place], cases[place].image, asker)
        except NoAnswer:
            return None

    found = iter(all_at_once(one, [(place, what) for place in range(len(cases)) for what in SETS]))
    return [{what: next(found) for what in SETS} for _ in cases]


def selected(said: Sequence[Said], scores: Scores, fewest: int = FEWEST) -> Kept:
    """What SCSR keeps; labels that nobody judged stand as they were predicted, as in the loop."""

    def kept(labels: tuple[str, ...], sides: Judged | None) -> tuple[str, ...]:
        return labels if sides is None else select(sides.initial, sides.rectified, fewest).labels

    return [
        {what: kept(one[what].labels, sides[what]) for what in SETS} for one, sides in zip(said, scores, strict=True)
    ]


def labels_of(said: Sequence[Said]) -> Kept:
    """What was predicted."""
    return [{what: one[what].labels for what in SETS} for one in said]


def selection_rows(
    cases: Sequence[Case], predictor: str, said: Sequence[Said], scores: Mapping[str, Scores]
) -> list[Row]:
    """SCSR on and off: the labels of one predictor under each judge, what that gains, and how well each ranks."""
    before = labels_of(said)
    rows = [label_row(cases, SELECTION, predictor, f"{what}, off", pairs_of(cases, before, what)) for what in SETS]
    rows += _rankings(cases, predictor, "predictor", [{w: one[w].odds for w in SETS} for one in said])
    for judge, of_judge in scores.items():
        for fewest in (FEWEST, MORE):
            kept, rule = selected(said, of_judge, fewest), f"SCSR by {judge}, n = {fewest}"
            rows += [
                label_row(cases, SELECTION, predictor, f"{what}, {rule}", pairs_of(cases, kept, what)) for what in SETS
            ]
            rows += gain_rows(cases, f"{predictor} + {rule}", before, kept, over=predictor)
        own: list[dict[LabelSet, dict[str, float]]] = [
            {w: _all_scores(of_dish[w]) for w in SETS} for of_dish in of_judge
        ]
        rows += _rankings(cases, predictor, judge, own)
    return rows


def _all_scores(sides: Judged | None) -> dict[str, float]:
    """Every label that a judge scores."""
    return {} if sides is None else {one.label: one.confidence for one in sides.all}


def _rankings(
    cases: Sequence[Case], predictor: str, who: str, odds: Sequence[Mapping[LabelSet, Mapping[str, float]]]
) -> list[Row]:
    """Average precision of somebody's scores of every label; nothing where not every label is scored."""
    rows = []
    for what in SETS:
        scored = [
            (p, label in case.true(what))
            for case, one in zip(cases, odds, strict=True)
            for label, p in one[what].items()
        ]
        if len(scored) == sum(len(getattr(case.dish.known, what).classes) for case in cases):
            rows.append(
                Row(
                    what=RANKING,
                    world="simulated",
                    model=predictor,
                    variant=f"{what}, by {who}",
                    n=len(cases),
                    n_cases=len(cases),
                    figures={"average_precision": average_precision(scored)},
                )
            )
    return rows
