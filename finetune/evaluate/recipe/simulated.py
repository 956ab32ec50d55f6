"""The recipe tables on simulated dishes: who predicts labels, what SCSR makes of them, and what is written.

Predictors: `network`, `model` (the card's own), each adapter that is named, `frequency` and `best possible`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from langchain_core.language_models import BaseChatModel

from loopwright.agents.recipe.judge import JUDGE, SETS, CountsJudge, Judge, ModelJudge
from loopwright.agents.recipe.predictor import PREDICTOR
from loopwright.finetune.evaluate.pictures import PngStore
from loopwright.finetune.evaluate.recipe.cases import (
    Case,
    Progress,
    Roles,
    Said,
    by_frequency,
    by_model,
    by_network,
    by_posterior,
    simulated_cases,
)
from loopwright.finetune.evaluate.recipe.labels import (
    Kept,
    Scores,
    gain_rows,
    judged,
    label_rows,
    labels_of,
    selected,
    selection_rows,
)
from loopwright.finetune.evaluate.recipe.lexical import TextMeasure
from loopwright.finetune.evaluate.recipe.swaps import swap_rows
from loopwright.finetune.evaluate.recipe.texts import (
    CONTEXTS,
    Scorer,
    Texts,
    Told,
    Write,
    model_writer,
    nearest_simulated,
    rule_writer,
    simulated_scorer,
    told_of,
    written,
)
from loopwright.finetune.measure.rows import Row
from loopwright.graphs.recipe.run import GENERATOR
from loopwright.models.networks.recipe import DishRecogniser
from loopwright.tools.recipe.cooccurrence import kitchen_cooccurrence
from loopwright.tools.recipe.kitchen.plan import Part

NETWORK, MODEL, FREQUENCY, BEST = "network", "model", "frequency", "best possible"
COUNTS = "counts"
REPAIRS = 2
"""The loop's default."""


class Setup(NamedTuple):
    """What is measured with.

    Attributes:
        cases: the dishes.
        store: of their pictures.
        network: the dish network.
        models: predicting models by the names of their rows; the first is the card's own, which judges and writes too.
        on_progress: called with a line now and then.
    """

    cases: Sequence[Case]
    store: PngStore
    network: DishRecogniser
    models: Mapping[str, BaseChatModel]
    on_progress: Progress

    def asker(self, model: BaseChatModel) -> Roles:
        """With one model in all roles."""
        return Roles(dict.fromkeys((PREDICTOR, JUDGE, GENERATOR), model), self.store)

    @property
    def own(self) -> BaseChatModel | None:
        """The card's own model, if there is one."""
        return next(iter(self.models.values()), None)


def open_setup(
    part: Part, dishes: int, models: Callable[[PngStore], Mapping[str, BaseChatModel]], on_progress: Progress
) -> Setup:
    """The first dishes of a part; `models` opens models that read pictures from the store."""
    from loopwright.models.networks.recipe import load_network

    store = PngStore()
    opened = models(store)
    on_progress(f"drawing {dishes} dishes")
    return Setup(simulated_cases(part, dishes, store), store, load_network(), opened, on_progress)


def evaluate_labels(setup: Setup) -> list[Row]:
    """Tables 2 and 3: every predictor, and what each adapter gains over the first model."""
    cases = setup.cases
    rows = []
    known: dict[str, Sequence[Said]] = {
        FREQUENCY: by_frequency(cases), NETWORK: by_network(cases, setup.network), BEST: by_posterior(cases)
    }  # fmt: skip
    for name, said in known.items():
        rows += label_rows(cases, name, labels_of(said))
    first: tuple[str, Kept] | None = None
    for name, model in setup.models.items():
        setup.on_progress(f"labels by {name}")
        asker = setup.asker(model)
        kept = labels_of(by_model(cases, asker))
        rows += label_rows(cases, name, kept, formats=asker.formats)
        if first is None:
            first = name, kept
        else:
            rows += gain_rows(cases, name, first[1], kept, over=first[0])
    return rows


def evaluate_selection(setup: Setup, predictor: str) -> list[Row]:
    """SCSR on and off, under both judges, over the labels of one predictor."""
    said = predict(setup, predictor)
    return selection_rows(setup.cases, predictor, said, scores_of(setup, said))


def predict(setup: Setup, predictor: str) -> Sequence[Said]:
    """What one predictor says: the network, or a model by its name."""
    setup.on_progress(f"labels by {predictor}")
    if predictor == NETWORK:
        return by_network(setup.cases, setup.network)
    return by_model(setup.cases, setup.asker(setup.models[predictor]), scored=True)


def scores_of(setup: Setup, said: Sequence[Said]) -> dict[str, Scores]:
    """The scores of both judges; of the counts' alone where there is no model."""
    looked = by_network(setup.cases, setup.network, turned=True)
    judges: dict[str, list[Judge]] = {
        COUNTS: [CountsJudge(kitchen_cooccurrence(), {w: one[w].odds for w in SETS}) for one in looked]
    }
    if setup.own is not None:
        judges[MODEL] = [ModelJudge(case.dish.known) for case in setup.cases]
    asker = Roles({}, setup.store) if setup.own is None else setup.asker(setup.own)
    found = {}
    for name, of_dish in judges.items():
        setup.on_progress(f"scores by {name}")
        found[name] = judged(setup.cases, said, of_dish, asker)
    return found


def evaluate_texts(setup: Setup, predictor: str, measure: TextMeasure) -> list[Row]:
    """Tables 1 and 4: both generators under every context, and the nearest recipe."""
    scorer = simulated_scorer(setup.cases, measure)
    said = predict(setup, predictor)
    sources: dict[str, Kept] = {"as predicted": labels_of(said)}
    for judge, scores in scores_of(setup, said).items():
        sources[f"SCSR by {judge}"] = selected(said, scores)
    ends = {"best possible labels": labels_of(by_posterior(setup.cases)), "true labels": _true(setup.cases)}
    told = {f"{context}, {name}": told_of(kept, context) for name, kept in sources.items() for context in CONTEXTS}
    told |= {f"both, {name}": told_of(kept, "both") for name, kept in ends.items()}
    near = nearest_simulated(said)
    rows = [scorer.row("nearest recipe", "of 4,000", near, told["both, as predicted"], {})]
    common = told_of(labels_of(by_frequency(setup.cases)), "both")
    rows.append(scorer.row("rule", "both, frequency", written(rule_writer, setup.cases, common), common, {}))
    rows += _table(scorer, "rule", rule_writer, told, setup)[0]
    if setup.own is None:
        return rows
    plain: Sequence[Told] = [{} for _ in setup.cases]
    asker = setup.asker(setup.own)
    texts = written(model_writer(asker), setup.cases, plain)
    rows.append(scorer.row(MODEL, "none", texts, plain, asker.formats))
    of_model, drafts = _table(scorer, MODEL, None, told, setup)
    for variant in ("both, as predicted", f"both, SCSR by {COUNTS}"):
        rows += scorer.gain(f"model, {variant}", texts, drafts[variant], over="none")
    return rows + of_model


def _table(
    scorer: Scorer, name: str, write: Write | None, told: Mapping[str, Sequence[Told]], setup: Setup
) -> tuple[list[Row], dict[str, Texts]]:
    """The rows of one generator under every context, and its texts; those of the loop's default are also redone."""
    rows, drafts = [], {}
    repaired = f"both, SCSR by {COUNTS}"
    for variant, labels in told.items():
        for repairs in (0, REPAIRS) if write is None and variant == repaired else (0,):
            title = f"{variant}, repaired" if repairs else variant
            setup.on_progress(f"texts by {name}: {title}")
            asker = None
            if write is None:
                assert setup.own is not None, "only a model writes without a function"
                asker = setup.asker(setup.own)
            texts = written(write or model_writer(asker), setup.cases, labels, repairs)  # type: ignore[arg-type]
            drafts[title] = texts
            rows.append(scorer.row(name, title, texts, labels, asker.formats if asker else {}))
    return rows, drafts


def _true(cases: Sequence[Case]) -> Kept:
    return [{what: tuple(sorted(case.true(what))) for what in SETS} for case in cases]


def evaluate_swaps(setup: Setup, measure: TextMeasure) -> list[Row]:
    """Fig. 1: the dishes' own recipes with labels swapped."""
    return swap_rows(simulated_scorer(setup.cases, measure))
