"""Whether instructions say what their labels say: which labels a text lacks, and which it has on its own."""

from collections.abc import Iterable, Mapping, Sequence

from pydantic import Field

from loopwright.agents.recipe.judge import SETS, LabelSet
from loopwright.agents.recipe.prompts import repair_words, said
from loopwright.schema import Frozen
from loopwright.tools.recipe.extract import Vocabularies, labels_of_text


class Check(Frozen):
    """What is wrong with a text; nothing where all are empty. Of a set that was not told, nothing is wrong."""

    missing: dict[LabelSet, tuple[str, ...]] = Field(description="told, and not in the text")
    invented: dict[LabelSet, tuple[str, ...]] = Field(description="in the text, and not told")

    @property
    def ok(self) -> bool:
        """Whether text and labels agree."""
        return not any((*self.missing.values(), *self.invented.values()))

    @property
    def n_wrong(self) -> int:
        """How many labels are wrong."""
        return sum(map(len, (*self.missing.values(), *self.invented.values())))

    def repair(self) -> str:
        """What its writer is told."""
        return repair_words(_flat(self.missing), _flat(self.invented))

    def in_words(self) -> str:
        """For a person."""
        parts = [
            f"{what}: {said(names)}"
            for what, names in (("it does not mention", _flat(self.missing)), ("it adds", _flat(self.invented)))
            if names
        ]
        return "; ".join(parts) or "text and labels agree"


def check(
    steps: Sequence[str], told: Mapping[LabelSet, Iterable[str]], known: Vocabularies, removed: Iterable[str] = ()
) -> Check:
    """Compare what a text names with what its writer was told.

    Args:
        steps: the text.
        told: the labels of each set that the writer was told; a set that is not there is not compared.
        known: which labels there are.
        removed: labels that a person denied; they are wrong in the text of any set.
    """
    found = labels_of_text(steps, known)
    denied = set(removed)
    missing: dict[LabelSet, tuple[str, ...]] = {}
    invented: dict[LabelSet, tuple[str, ...]] = {}
    for what in SETS:
        names = getattr(found, what)
        if what in told:
            missing[what] = tuple(sorted(set(told[what]) - names))
            invented[what] = tuple(sorted(names - set(told[what])))
        else:
            invented[what] = tuple(sorted(names & denied))
    return Check(missing=missing, invented=invented)


def _flat(labels: Mapping[LabelSet, Sequence[str]]) -> list[str]:
    return [label for what in SETS for label in labels.get(what, ())]
