"""What a person says to the recipe loop, read by rules: what is not in the dish, or not done; what is.

"No nuts", "there is no cheese in it", "don't boil it", "add basil". A name is an ingredient, an action, or a group of
ingredients (`nuts`, `meat`) of the kitchen's; whoever names something else is asked what it is. Before the text is
written it changes labels, afterwards the text is written anew.
"""

import re
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from pydantic import Field

from loopwright.agents import feedback as generic
from loopwright.schema import Feedback, Frozen, Reject, Unclear
from loopwright.tools.recipe.extract import kitchen_vocabularies
from loopwright.tools.recipe.ingredients import clean_name, singular
from loopwright.tools.recipe.kitchen.pantry import bundled_kitchen
from loopwright.tools.recipe.verbs import verb_of

MOST_NAMED = 60
"""Labels that one message stands for: a group's, or several."""
_EXAMPLES = "`no nuts`, `add basil`, `don't boil it`"


class Changed(Feedback):
    """Base of what changes labels: one set of rules reads it all, and each type takes its own."""

    @classmethod
    def read(cls, text: str) -> Feedback | Reject | Unclear | None:
        """See `Feedback.read`."""
        found = _rules(text)
        return found if isinstance(found, cls | Unclear) else None


class Without(Changed):
    """None of these is in the dish, or was done to it."""

    examples = ("no nuts", "there is no cheese in it", "don't boil it")
    actions: tuple[str, ...] = Field(default=(), max_length=MOST_NAMED)
    ingredients: tuple[str, ...] = Field(default=(), max_length=MOST_NAMED)

    def in_words(self) -> str:
        """`no nuts or cheese`."""
        return f"no {' or '.join(map(_in_words, (*self.ingredients, *self.actions)))}"


class With(Changed):
    """These are in the dish, or were done to it."""

    examples = ("add basil",)
    actions: tuple[str, ...] = Field(default=(), max_length=MOST_NAMED)
    ingredients: tuple[str, ...] = Field(default=(), max_length=MOST_NAMED)

    def in_words(self) -> str:
        """`add basil and thyme`."""
        return f"add {' and '.join(map(_in_words, (*self.ingredients, *self.actions)))}"


FEEDBACK: tuple[type[Feedback], ...] = (Without, With)


class Edits(Frozen):
    """What people changed so far, the newest word on each label; `words` is all that they said."""

    added: dict[str, tuple[str, ...]] = Field(default={}, description="`actions` and `ingredients`")
    removed: dict[str, tuple[str, ...]] = Field(default={}, description="the same")
    words: tuple[str, ...] = ()

    def after(self, said: Without | With, text: str) -> "Edits":
        """With one more message."""
        added, removed = dict(self.added), dict(self.removed)
        to, away = (added, removed) if isinstance(said, With) else (removed, added)
        for what in ("actions", "ingredients"):
            named = getattr(said, what)
            to[what] = tuple(dict.fromkeys((*to.get(what, ()), *named)))
            away[what] = tuple(label for label in away.get(what, ()) if label not in named)
        return Edits(added=added, removed=removed, words=(*self.words, text))

    def heard(self, words: Mapping[str, Any], text: str) -> "Edits":
        """With one more message as it is on record; one of another kind changes nothing."""
        kinds: dict[str, type[Without] | type[With]] = {"with": With, "without": Without}
        kind = kinds.get(words["kind"])
        return (
            self
            if kind is None
            else self.after(kind.model_validate({n: v for n, v in words.items() if n != "kind"}), text)
        )

    def applied(self, what: str, labels: Iterable[str]) -> tuple[str, ...]:
        """Labels of one set as changed."""
        kept = [label for label in labels if label not in self.removed.get(what, ())]
        return tuple(dict.fromkeys((*kept, *self.added.get(what, ()))))


_IN_IT = r"(?: (?:in (?:it|here|there|this|that|the (?:dish|recipe))|please|at all|of course))*"
_NEGATED = re.compile(
    r"(?:there (?:is|are|was|were) (?:no|not any)|there (?:isn't|aren't) any|it has no|it (?:is|was) not"
    r"|(?:it|this) does not (?:have|contain)(?: any)?|i (?:see|want) no|no|without|not|remove|leave out|drop|take out"
    rf"|never|do not|don't) (?P<named>.+?){_IN_IT}"
)
_STATED = re.compile(
    rf"(?:there (?:is|are|was|were)|it has|it contains|i see|add|also|with|and|put in|include)"
    rf" (?:some |also |a |an |the )*(?P<named>.+?){_IN_IT}"
)
_ALSO = re.compile(r"\s*(?:,|;|\bor\b|\band\b)\s*")
_ARTICLE = re.compile(r"^(?:(?:any|some|the|a|an|more) )+")
_NO = re.compile(r"^(?:no|not|without|never|do not|don't|leave out|remove) ")
_YES = re.compile(r"^(?:add|also|with|use|put in|include|there (?:is|are)) ")
_OBJECT = re.compile(r" (?:it|them|anything|everything|this|that)$")


def _rules(text: str) -> Without | With | Unclear | None:
    for kind, pattern in ((Without, _NEGATED), (With, _STATED)):
        if (found := pattern.fullmatch(text)) is not None:
            return _changed(kind, text, found["named"])
    return None


def _changed(kind: type[Without] | type[With], text: str, named: str) -> Without | With | Unclear:
    actions: list[str] = []
    ingredients: list[str] = []
    for part in filter(None, _ALSO.split(named)):
        own, other = (_NO, _YES) if kind is Without else (_YES, _NO)
        if other.match(part):
            return generic.unclear(text, "Could you say one thing at a time: what is not in it, or what is?")
        name = _OBJECT.sub("", _ARTICLE.sub("", own.sub("", part.strip())))
        if (members := _members(name)) and (kind is Without or len(members) == 1):
            ingredients += members
        elif (action := _action(name)) is not None:
            actions.append(action)
        elif members:
            return generic.unclear(text, f"Which of them: {', '.join(map(_in_words, members))}?")
        else:
            return generic.unclear(text, f"I know no ingredient or action {name[:80]!r}. For example: {_EXAMPLES}.")
    return kind(actions=tuple(dict.fromkeys(actions)), ingredients=tuple(dict.fromkeys(ingredients)))


def _members(name: str) -> tuple[str, ...]:
    """The ingredients that a name stands for: itself, or a group's; () for none."""
    cleaned = clean_name(name)
    for known in (cleaned, singular(cleaned)):
        if known in _groups() and known not in kitchen_vocabularies().ingredients.members:
            return _groups()[known]
    found = kitchen_vocabularies().ingredients.members
    return next(((found[known],) for known in (cleaned, singular(cleaned)) if known in found), ())


def _action(name: str) -> str | None:
    """The action that a word is a form of."""
    found = verb_of(name)
    return found if found in kitchen_vocabularies().actions.members else None


@cache
def _groups() -> Mapping[str, tuple[str, ...]]:
    """Groups of ingredients, such as `nut`, by the name of their family."""
    families: dict[str, tuple[str, ...]] = {}
    for name, family in bundled_kitchen().families.items():
        families[family] = (*families.get(family, ()), name)
    return families


def _in_words(label: str) -> str:
    return label.replace("_", " ")
