"""What lexical metrics miss (Liu et al., Fig. 1): the recipe itself with only its ingredients, or only its actions,
replaced by others, scored against itself.
"""

from collections.abc import Mapping, Sequence

import lemminflect
import numpy as np

from loopwright.agents.recipe.judge import LabelSet
from loopwright.agents.recipe.prompts import in_words
from loopwright.finetune.evaluate.recipe.cases import Case
from loopwright.finetune.evaluate.recipe.texts import Scorer
from loopwright.finetune.measure.rows import Row
from loopwright.tools.recipe.extract import Vocabularies
from loopwright.tools.recipe.verbs import bundled_verbs

SWAP = "swap"
SWAPPED: Mapping[str, tuple[LabelSet, ...]] = {
    "nothing swapped": (),
    "ingredients swapped": ("ingredients",),
    "actions swapped": ("actions",),
    "both swapped": ("actions", "ingredients"),
}


def swap_rows(scorer: Scorer) -> list[Row]:
    """Lexical and semantic figures of each kind of swap, side by side."""
    rows = []
    for name, sets in SWAPPED.items():
        texts = [swapped(case, sets, np.random.default_rng(place)) for place, case in enumerate(scorer.cases)]
        found = scorer.figures(texts)
        rows.append(
            Row(
                what=SWAP,
                world=scorer.world,
                model="the recipe itself",
                variant=name,
                n=len(texts),
                n_cases=len(texts),
                figures=found.values,
                intervals=found.intervals,
            )
        )
    return rows


def swapped(case: Case, sets: Sequence[LabelSet], rng: np.random.Generator) -> tuple[str, ...]:
    """A dish's instructions, every label of `sets` replaced by one that the dish has not, in the same form."""
    known, steps = case.dish.known, case.dish.recipe.instructions
    others: dict[LabelSet, dict[str, str]] = {what: _replacements(case, what, rng) for what in sets}
    return tuple(_swapped(step, known, others) for step in steps)


def _replacements(case: Case, what: LabelSet, rng: np.random.Generator) -> dict[str, str]:
    """A label for each: no other label's and none of the dish's, as long as there are any."""
    names = sorted(getattr(case.dish.known, what).classes)
    free = [name for name in rng.permutation(names).tolist() if name not in case.true(what)]
    return {name: free[place % len(free)] if free else name for place, name in enumerate(names)}


def _swapped(step: str, known: Vocabularies, others: Mapping[LabelSet, Mapping[str, str]]) -> str:
    found: list[tuple[int, int, str]] = []
    if "actions" in others:
        found += [
            (m.start, m.end, _inflected(others["actions"][m.verb], m.verb, step[m.start : m.end]))
            for m in bundled_verbs().mentions(step)
            if m.verb in others["actions"]
        ]
    if "ingredients" in others:
        found += [(m.start, m.end, in_words(others["ingredients"][m.name])) for m in known.ingredients.mentions(step)]
    text, at = "", 0
    for start, end, word in sorted(found):
        if start >= at:
            text, at = text + step[at:start] + word, end
    return text + step[at:]


def _inflected(verb: str, of: str, word: str) -> str:
    """The verb in the form that `word` has of the verb `of`: a command or a gerund, capital or not."""
    form = verb
    if word.lower().endswith("ing") and not of.endswith("ing"):
        form = next(iter(lemminflect.getInflection(verb, tag="VBG")), verb)
    return form.capitalize() if word[0].isupper() else form
