"""Finds the actions that a text of instructions asks for, as lemmas: "Chop the onion" is `chop`.

A verb of the lexicon (`verbs.yaml`) counts where a command, a gerund of doing or something that is left to happen
stands; "the chopped onion" and "over medium heat" ask for nothing. Rules, no model: what they miss is measured in
`docs/recipe-data.md`. Inflections come from lemminflect.
"""

import re
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files
from typing import NamedTuple

import lemminflect
import yaml

from loopwright.schema import Frozen

_TOKEN = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*|[.,;:!?()\[\]\n–—]|\d+")
_CLAUSE_ENDS = frozenset(".;:!?()[]\n–—")
_LET_REACH = 7
_SHORTEST_ADVERB = 5


class VerbMention(NamedTuple):
    """An action in a text, and where its word stands: characters `start` to `end`."""

    verb: str
    start: int
    end: int


class VerbLexicon(Frozen):
    """Verbs, and the words around them by which they are told from nouns. See `verbs.yaml`."""

    verbs: frozenset[str]
    ambiguous: frozenset[str]
    spellings: dict[str, str]
    before: frozenset[str]
    before_ing: frozenset[str]
    letting: frozenset[str]
    objects: frozenset[str]
    never_before: frozenset[str]
    phrases: frozenset[str]
    substances: frozenset[str]
    determiners: frozenset[str]
    degrees: frozenset[str]

    @property
    def all(self) -> frozenset[str]:
        """Every verb."""
        return self.verbs | self.ambiguous


@cache
def bundled_lexicon() -> VerbLexicon:
    """The lexicon that comes with the package."""
    text = files("loopwright.tools.recipe").joinpath("verbs.yaml").read_text(encoding="utf-8")
    return VerbLexicon.model_validate(yaml.safe_load(text))


class VerbFinder:
    """Finds the verbs of one lexicon."""

    def __init__(self, lexicon: VerbLexicon) -> None:
        self._lexicon = lexicon
        self._commands = {verb: verb for verb in lexicon.all}
        self._gerunds: dict[str, str] = {}
        for verb in sorted(lexicon.all):
            self._gerunds |= dict.fromkeys(_inflected(verb, "VBG"), verb)
        for spelling, verb in lexicon.spellings.items():
            (self._gerunds if spelling.endswith("ing") else self._commands)[spelling] = verb

    def mentions(self, text: str) -> list[VerbMention]:
        """Every action that `text` asks for, in order."""
        found = list(_TOKEN.finditer(text))
        words = [match.group().lower().replace("’", "'") for match in found]
        return [
            VerbMention(verb, match.start(), match.end())
            for place, match in enumerate(found)
            if (verb := self._verb_at(words, place)) is not None
        ]

    def actions(self, texts: Iterable[str]) -> tuple[str, ...]:
        """The actions of some instructions, each once, in order."""
        return tuple(dict.fromkeys(mention.verb for text in texts for mention in self.mentions(text)))

    def _verb_at(self, words: list[str], place: int) -> str | None:
        word = words[place]
        before = words[place - 1] if place else "."
        after = words[place + 1] if place + 1 < len(words) else "."
        lexicon = self._lexicon
        if (
            f"{word} {after}" in lexicon.phrases
            or f"{before} {word}" in lexicon.phrases
            or after in lexicon.never_before
        ):
            return None
        if word in self._gerunds:
            begins = before in _CLAUSE_ENDS or before == "," or before in lexicon.before_ing
            return self._gerunds[word] if begins else None
        verb = self._commands.get(word)
        if verb is None or not (self._may_begin(before) or self._is_let(words, place)):
            return None
        if verb in lexicon.ambiguous and not self._is_command(verb, before, after):
            return verb if self._is_let(words, place) else None
        return verb

    def _may_begin(self, before: str) -> bool:
        is_adverb = before.endswith("ly") and len(before) >= _SHORTEST_ADVERB
        return before in _CLAUSE_ENDS or before == "," or before in self._lexicon.before or is_adverb

    def _is_command(self, verb: str, before: str, after: str) -> bool:
        """Whether a word that is also a noun is a verb here: it begins a sentence, or has an object."""
        if verb in self._lexicon.substances and before not in _CLAUSE_ENDS:
            return after in self._lexicon.determiners
        if before in (",", "and", "or"):
            return after in self._lexicon.objects
        if verb in self._lexicon.substances:
            return after not in (",", "and", "or", ":", ")")
        return before not in self._lexicon.degrees and after not in (":", ")")

    def _is_let(self, words: list[str], place: int) -> bool:
        for earlier in reversed(words[max(0, place - _LET_REACH) : place]):
            if earlier in self._lexicon.letting:
                return words[place - 1] not in ("the", "a", "an", "your", "to", "and", "with", "of", "in")
            if earlier in _CLAUSE_ENDS or earlier == "," or earlier in self._commands:
                return False
        return False


@cache
def bundled_verbs() -> VerbFinder:
    """Of the bundled lexicon."""
    return VerbFinder(bundled_lexicon())


def verb_of(word: str) -> str | None:
    """The verb of the bundled lexicon that a word is a form of: `boiled` is of `boil`."""
    known = bundled_lexicon().all
    return next((verb for verb in (word, *lemminflect.getLemma(word, upos="VERB")) if verb in known), None)


def _inflected(verb: str, tag: str) -> tuple[str, ...]:
    """The forms of a verb; of a compound, `pan-fry`, those of its last part."""
    first, hyphen, last = verb.rpartition("-")
    forms: Mapping[str, tuple[str, ...]] = lemminflect.getAllInflections(last, upos="VERB")
    forms = forms or lemminflect.getAllInflectionsOOV(last, upos="VERB")
    return tuple(f"{first}{hyphen}{form}" for form in forms.get(tag, ()))
