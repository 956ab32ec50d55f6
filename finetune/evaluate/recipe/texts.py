"""What writers make of labels (Liu et al., Tables 1 and 4): texts against the dish's own recipe, and the labels that
they name against the dish's own.

Labels of a text are extracted from it, as in the loop's own check. A text that could not be read counts as empty.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from loopwright.agents.recipe.formats import INSTRUCTIONS, drafted
from loopwright.agents.recipe.judge import SETS, LabelSet
from loopwright.agents.recipe.prompts import instructions_messages
from loopwright.agents.recipe.verify import check
from loopwright.agents.recipe.writer import write_by_rule
from loopwright.errors import NoAnswer
from loopwright.finetune.evaluate.recipe.cases import Case, Roles, Said, all_at_once
from loopwright.finetune.evaluate.recipe.figures import Figures, Pair, kitchen_bands, label_figures, label_gain
from loopwright.finetune.evaluate.recipe.labels import GAIN, Kept
from loopwright.finetune.evaluate.recipe.lexical import TextMeasure
from loopwright.finetune.measure.rows import Row
from loopwright.graphs.recipe.run import GENERATOR
from loopwright.tools.recipe.cooccurrence import kitchen_cooccurrence
from loopwright.tools.recipe.dish import SimulatedDish
from loopwright.tools.recipe.extract import labels_of_text
from loopwright.tools.recipe.kitchen.pantry import bundled_kitchen
from loopwright.tools.recipe.kitchen.plan import plan_dish, seeds_of
from loopwright.tools.recipe.labels import Band, Labels

TEXT = "text"
Told = Mapping[LabelSet, Sequence[str]]
"""The labels that a writer is told; a set that is not there is not told."""
Write = Callable[[Case, Told, str], Sequence[str]]
"""A dish, what its writer is told, and what was wrong with its last draft, to steps."""
Texts = list[tuple[str, ...]]
KNOWN_RECIPES = 4000
"""Training dishes among which the nearest recipe is looked for."""
CONTEXTS: Mapping[str, tuple[LabelSet, ...]] = {"actions": ("actions",), "ingredients": ("ingredients",), "both": SETS}


class Scorer(NamedTuple):
    """Makes rows of texts of some dishes. `bands` are {} where no label is called rare."""

    cases: Sequence[Case]
    measure: TextMeasure
    world: str = "simulated"
    bands: Mapping[LabelSet, Mapping[str, Band]] = {}

    def row(self, writer: str, variant: str, texts: Texts, told: Sequence[Told], formats: Mapping[str, float]) -> Row:
        """All figures of the texts of one writer; `agree` is the share that does exactly what it was told."""
        found = self.figures(texts)
        agree = [
            check(text, labels, case.dish.known).ok
            for text, labels, case in zip(texts, told, self.cases, strict=True)
            if labels
        ]
        share = {"agree": sum(agree) / len(agree)} if agree else {}
        return Row(
            what=TEXT, world=self.world, model=writer, variant=variant, n=len(texts), n_cases=len(texts),
            figures=found.values | share | dict(formats), intervals=found.intervals,
        )  # fmt: skip

    def figures(self, texts: Texts) -> Figures:
        """Lexical figures and those of the labels named."""
        references = [drafted(case.dish.recipe.instructions) for case in self.cases]
        found = self.measure.of([drafted(text) for text in texts], references)
        for what in SETS:
            found |= label_figures(self.pairs(texts, what), self.bands.get(what, {})).named(f"{what}_")
        return found

    def pairs(self, texts: Texts, what: LabelSet) -> list[Pair]:
        """The labels that texts name, and the true ones."""
        return [
            Pair(getattr(labels_of_text(text, case.dish.known), what), case.true(what))
            for text, case in zip(texts, self.cases, strict=True)
        ]

    def gain(self, name: str, before: Texts, after: Texts, over: str) -> list[Row]:
        """What the labels named gain from one text to another of the same dish."""
        rows = []
        for what in SETS:
            found = label_gain(self.pairs(before, what), self.pairs(after, what), self.bands.get(what, {}))
            rows.append(
                Row(
                    what=GAIN,
                    world=self.world,
                    model=name,
                    variant=f"{what} of texts, over {over}",
                    n=len(after),
                    n_cases=len(after),
                    figures=found.values,
                    intervals=found.intervals,
                )
            )
        return rows


def rule_writer(case: Case, told: Told, repair: str) -> Sequence[str]:
    """The loop's writer by rule."""
    return write_by_rule(told.get("actions", ()), told.get("ingredients", ()), kitchen_cooccurrence())


def model_writer(asker: Roles, *, text_only: bool = False) -> Write:
    """The model in the role `generator`, asked as the loop asks it."""

    def write(case: Case, told: Told, repair: str) -> Sequence[str]:
        image = None if text_only else case.image
        prompt = instructions_messages(image, told.get("actions", ()), told.get("ingredients", ()), repair)
        try:
            return asker.ask(GENERATOR, prompt, INSTRUCTIONS, may_fail=True)
        except NoAnswer:
            return ()

    return write


def written(write: Write, cases: Sequence[Case], told: Sequence[Told], repairs: int = 0) -> Texts:
    """A text of each dish, redone as the loop redoes it: at most `repairs` times, where it contradicts its labels."""

    def one(question: tuple[Case, Told]) -> tuple[str, ...]:
        case, labels = question
        text = tuple(write(case, labels, ""))
        for _ in range(repairs):
            found = check(text, labels, case.dish.known)
            if found.ok:
                break
            text = tuple(write(case, labels, found.repair()))
        return text

    return all_at_once(one, list(zip(cases, told, strict=True)))


def told_of(kept: Kept, context: str) -> list[Told]:
    """Of kept labels, those that a context tells; sorted, as training rows are."""
    return [{what: sorted(labels[what]) for what in CONTEXTS[context]} for labels in kept]


def nearest_simulated(said: Sequence[Said]) -> Texts:
    """For each dish the recipe of the training dish whose labels are most like what the predictor sees."""
    seeds = seeds_of("train", KNOWN_RECIPES)
    known = [plan_dish(bundled_kitchen(), seed).labels for seed in seeds]
    found = [nearest(one, known) for one in said]
    return [tuple(SimulatedDish(seeds[place]).recipe.instructions) for place in found]


def nearest(said: Said, known: Sequence[Labels], but: int | None = None) -> int:
    """The place of the recipe of the largest expected Dice overlap with what is seen of a dish, `but` left out.

    A predictor without odds counts as sure of its labels.
    """

    def overlap(labels: Labels) -> float:
        shared = total = 0.0
        for what in SETS:
            odds = said[what].odds or dict.fromkeys(said[what].labels, 1.0)
            names: frozenset[str] = getattr(labels, what)
            shared += sum(odds.get(name, 0.0) for name in names)
            total += sum(odds.values()) + len(names)
        return 2 * shared / max(1e-9, total)

    return max((place for place in range(len(known)) if place != but), key=lambda place: overlap(known[place]))


def simulated_scorer(cases: Sequence[Case], measure: TextMeasure) -> Scorer:
    """With the kitchen's head, mid and tail."""
    return Scorer(cases, measure, bands=kitchen_bands())
