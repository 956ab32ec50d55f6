"""The recipe tables on recipes that people wrote: labels of the text, told to a writer, and the text again.

Vocabularies are those of the collection itself; labels of ingredients come from the list, of actions from the steps.
So the recipe's own text does not name all of its labels (row `the recipe itself`), and nothing names more. Photos are
asked about with the kitchen's labels, which the bundled model knows; it learnt from drawings, and chance stands beside.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from langchain_core.language_models import BaseChatModel

from loopwright.agents.recipe.judge import SETS, LabelSet, Prediction
from loopwright.agents.recipe.predictor import PREDICTOR
from loopwright.errors import BadInput
from loopwright.finetune.data.recipe.vocabulary import VocabularyRules, vocabularies_of
from loopwright.finetune.evaluate.pictures import PngStore
from loopwright.finetune.evaluate.recipe.cases import Case, Progress, Roles, Said, by_model, frequent
from loopwright.finetune.evaluate.recipe.labels import Kept, label_rows, labels_of
from loopwright.finetune.evaluate.recipe.lexical import TextMeasure
from loopwright.finetune.evaluate.recipe.swaps import swap_rows
from loopwright.finetune.evaluate.recipe.texts import (
    CONTEXTS,
    Scorer,
    Told,
    model_writer,
    nearest,
    rule_writer,
    told_of,
    written,
)
from loopwright.finetune.measure.rows import Row
from loopwright.graphs.recipe.run import GENERATOR
from loopwright.tools.recipe.dish import RecordedDish
from loopwright.tools.recipe.kitchen.drawing import SIZE_PX
from loopwright.tools.recipe.loaders import read_recipes
from loopwright.tools.recipe.recipe import Recipe, is_used
from loopwright.tools.recipe.vocabulary import ClusterRules

WORLD, PHOTOS = "recorded", "photos"
RULES = VocabularyRules(ingredients=ClusterRules(min_count=2), min_actions=2)


def read_cases(path: Path, limit: int | None, on_progress: Progress) -> list[Case]:
    """Dishes of a collection with the vocabularies of all of it; `limit` takes the first ones.

    Raises:
        BadInput: there is no such collection, or none of its recipes is used.
    """
    recipes = [recipe for recipe in read_recipes(path, on_problem=on_problem(on_progress)) if is_used(recipe)]
    known = vocabularies_of(recipes, RULES).known
    return [Case(RecordedDish(recipe, known), None) for recipe in recipes[:limit]]


def on_problem(on_progress: Progress) -> Progress:
    """Entries that are wrong are told, and left out."""
    return lambda problem: on_progress(f"left out: {problem}")


def evaluate_recorded(
    cases: Sequence[Case], measure: TextMeasure, model: BaseChatModel | None, on_progress: Progress
) -> list[Row]:
    """Text -> labels -> text, by rule, by a model, by the nearest other recipe; and Fig. 1's swaps."""
    if len(cases) < 2:
        raise BadInput(f"{len(cases)} recipes are used; expected 2 or more, so that another one can be the nearest.")
    scorer = Scorer(cases, measure, WORLD)
    true: Kept = [{what: tuple(sorted(case.true(what))) for what in SETS} for case in cases]
    told = {context: told_of(true, context) for context in CONTEXTS}
    labels = [case.dish.labels for case in cases]
    said: list[Said] = [{what: Prediction(labels=one[what][:100]) for what in SETS} for one in true]
    near = [tuple(cases[nearest(one, labels, but=place)].dish.recipe.instructions) for place, one in enumerate(said)]
    own = [tuple(case.dish.recipe.instructions) for case in cases]
    common = told_of(_frequent(cases), "both")
    rows = [
        scorer.row("the recipe itself", "", own, told["both"], {}),
        scorer.row("nearest recipe", "true labels, itself left out", near, told["both"], {}),
        scorer.row("rule", "both, frequency", written(rule_writer, cases, common), common, {}),
    ]
    rows += [
        scorer.row("rule", f"{context}, true labels", written(rule_writer, cases, labels_told), labels_told, {})
        for context, labels_told in told.items()
    ]
    plain: Sequence[Told] = [{} for _ in cases]
    for context, labels_told in {"none": plain, **told}.items():
        if model is None:
            break
        on_progress(f"recorded texts by the model: {context}")
        asker = Roles({GENERATOR: model}, PngStore())
        texts = written(model_writer(asker, text_only=True), cases, labels_told)
        variant = context if context == "none" else f"{context}, true labels"
        rows.append(scorer.row("model", variant, texts, labels_told, asker.formats))
    return rows + swap_rows(scorer)


def evaluate_photos(recipes: Iterable[Recipe], store: PngStore, model: BaseChatModel) -> list[Row]:
    """Labels of photos by a model, beside the prior (each dish left out in turn) and chance."""
    shown = [RecordedDish(recipe) for recipe in recipes if recipe.image is not None and is_used(recipe)]
    cases = []
    for dish in shown:
        image = dish.image(SIZE_PX)
        assert image is not None, "only dishes with a photo are shown"
        cases.append(Case(dish, store.add(image)))
    if not cases:
        return []
    asker = Roles({PREDICTOR: model}, store)
    kept = labels_of(by_model(cases, asker))
    rows = label_rows(cases, "model", kept, formats=asker.formats, world=PHOTOS)
    rows += label_rows(cases, "frequency", _frequent(cases), world=PHOTOS)
    return rows + label_rows(cases, "chance", _by_chance(cases), world=PHOTOS)


def photographed(path: Path, on_progress: Progress) -> list[Recipe]:
    """The recipes of a collection."""
    return list(read_recipes(path, on_problem=on_problem(on_progress)))


def _frequent(cases: Sequence[Case]) -> Kept:
    """The most frequent labels of all other dishes."""
    counts = {what: Counter(name for case in cases for name in case.true(what)) for what in SETS}

    def one(case: Case, what: LabelSet) -> tuple[str, ...]:
        return frequent(counts[what] - Counter(case.true(what)), len(cases) - 1)

    return [{what: one(case, what) for what in SETS} for case in cases]


def _by_chance(cases: Sequence[Case]) -> Kept:
    """As many labels as dishes have on average, drawn evenly."""
    rng = np.random.default_rng(0)
    sizes = {what: max(1, round(float(np.mean([len(case.true(what)) for case in cases])))) for what in SETS}
    return [
        {what: tuple(rng.permutation(getattr(case.dish.known, what).classes)[: sizes[what]].tolist()) for what in SETS}
        for case in cases
    ]
