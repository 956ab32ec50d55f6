"""A text with its labels marked, right or wrong (Liu et al., Fig. 3). Knows no page."""

from collections.abc import Collection, Mapping
from typing import Literal, NamedTuple

from loopwright.agents.recipe.judge import LabelSet
from loopwright.tools.recipe.extract import Vocabularies
from loopwright.tools.recipe.verbs import bundled_verbs


class Piece(NamedTuple):
    """A part of a text: `what` is the set of the label that it names ("": none), `is_right` whether the dish has it."""

    text: str
    what: Literal["actions", "ingredients", ""] = ""
    is_right: bool = True


def marked(text: str, true: Mapping[LabelSet, Collection[str]], known: Vocabularies) -> list[Piece]:
    """One step in pieces; together they are the step."""
    found = [
        (m.start, m.end, "actions", m.verb) for m in bundled_verbs().mentions(text) if m.verb in known.actions.members
    ]
    found += [(m.start, m.end, "ingredients", m.name) for m in known.ingredients.mentions(text)]
    pieces, at = [], 0
    for start, end, what, name in sorted(found):
        if start < at:
            continue
        pieces += [Piece(text[at:start])] if start > at else []
        pieces.append(Piece(text[start:end], what, name in true[what]))  # type: ignore[arg-type, index]
        at = end
    return pieces + ([Piece(text[at:])] if at < len(text) else [])
