"""Classes of ingredients or actions: built from counted names, versioned, saved, and looked up.

Ingredients are clustered as inversecooking does it: names in the plural join the singular; then a name joins its last
word, first word, last two or first two words, whichever first is a name too; classes that are too rare are dropped.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, Self

from pydantic import Field, ValidationError

from loopwright.errors import BadInput
from loopwright.schema import Frozen, sha256_of
from loopwright.schema.json_text import parse_json
from loopwright.tools.files import write_whole
from loopwright.tools.recipe.ingredients import clean_name, singular
from loopwright.tools.recipe.labels import Band, BandRules, bands

_WORD = re.compile(r"[^\W\d_]+")
_VERSION_CHARS = 12


class ClusterRules(Frozen):
    """How names become classes."""

    min_count: int = Field(default=10, ge=1, description="classes that occur less often are dropped")
    own_count: int | None = Field(
        default=None, ge=1, description="names that occur so often join no other; None: all may, as in inversecooking"
    )


class Mention(NamedTuple):
    """A class in a text, and where its name stands: characters `start` to `end`."""

    name: str
    start: int
    end: int


class Vocabulary(Frozen):
    """Classes, the most frequent first, how often each occurs, and the names that belong to each."""

    what: str = Field(description="`ingredients` or `actions`")
    counts: dict[str, int]
    members: dict[str, str] = Field(description="the class of every known name")

    @property
    def classes(self) -> tuple[str, ...]:
        """The most frequent first, equal ones by name."""
        return tuple(sorted(self.counts, key=lambda name: (-self.counts[name], name)))

    @cached_property
    def version(self) -> str:
        """Names the content: equal vocabularies have equal versions."""
        return sha256_of(self.model_dump(mode="json"))[:_VERSION_CHARS]

    def class_of(self, name: str) -> str | None:
        """The class of a cleaned name, known or not, by the rules of clustering; None where there is none."""
        for known in (name, singular(name), *_heads(name), *map(singular, _heads(name))):
            if known in self.members:
                return self.members[known]
        return None

    def bands(self, rules: BandRules = BandRules()) -> dict[str, Band]:  # noqa: B008 - frozen
        """Head, mid and tail, by the counts."""
        return bands(self.counts, rules)

    def mentions(self, text: str) -> list[Mention]:
        """Every known name in a text, in order; longer names go before shorter ones, plurals count."""
        words = list(_WORD.finditer(text))
        plain = [clean_name(word.group()) for word in words]
        found, place = [], 0
        while place < len(words):
            for length in range(min(self._longest, len(words) - place), 0, -1):
                name = "_".join(plain[place : place + length])
                known = next((self.members[n] for n in (name, singular(name)) if n in self.members), None)
                if known is not None:
                    found.append(Mention(known, words[place].start(), words[place + length - 1].end()))
                    place += length - 1
                    break
            place += 1
        return found

    @cached_property
    def _longest(self) -> int:
        return max((name.count("_") + 1 for name in self.members), default=0)

    def save(self, path: Path) -> None:
        """Write it as JSON, with its version."""
        content = {"version": self.version, **self.model_dump(mode="json")}
        write_whole(path, (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode())

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote.

        Raises:
            BadInput: no such file, not one of these, or its content is not what its version says.
        """
        try:
            content: dict[str, Any] = dict(parse_json(path.read_text(encoding="utf-8")))
            version = content.pop("version", None)
            found = cls.model_validate(content)
        except (OSError, ValueError, TypeError, ValidationError) as error:
            raise BadInput(f"`{path}` is no vocabulary ({error!s:.120}). Build it again.") from error
        if found.version != version:
            raise BadInput(f"`{path}` has the version {version!r}, its content {found.version!r}. Build it again.")
        return found


def plain_vocabulary(what: str, names: Iterable[str]) -> Vocabulary:
    """Every name a class of its own, none counted."""
    kept = tuple(names)
    return Vocabulary(what=what, counts=dict.fromkeys(kept, 0), members={name: name for name in kept})


def cluster(counts: Mapping[str, int], rules: ClusterRules = ClusterRules()) -> Vocabulary:  # noqa: B008 - frozen
    """The classes of counted names of ingredients. The same counts give the same vocabulary, whatever their order."""
    root = {name: name for name in counts if name}
    for name in root:
        root[name] = next((one for one in _singulars(name) if one in counts), name)
    merged = Counter[str]()
    for name, one in root.items():
        merged[one] += counts[name]
    joined = {name: _joined(name, merged, rules) for name in merged}
    class_of = {name: _end(joined, root[name]) for name in root}
    sizes = Counter[str]()
    for name, found in class_of.items():
        sizes[found] += counts[name]
    kept = {found: size for found, size in sorted(sizes.items()) if size >= rules.min_count}
    return Vocabulary(what="ingredients", counts=kept, members={n: c for n, c in sorted(class_of.items()) if c in kept})


def frequent(counts: Mapping[str, int], min_count: int = 1) -> Vocabulary:
    """The actions that occur at least so often, each a class."""
    kept = {name: count for name, count in sorted(counts.items()) if count >= min_count}
    return Vocabulary(what="actions", counts=kept, members={name: name for name in kept})


def _singulars(name: str) -> tuple[str, ...]:
    """What a plural may be of: without -es, then without -s, then by spelling."""
    found = [name[:-2]] if name.endswith("es") else []
    found += [name[:-1]] if name.endswith("s") else []
    return tuple(one for one in (*found, singular(name)) if one and one != name)


def _heads(name: str) -> tuple[str, ...]:
    """Last word, first word, last two, first two."""
    words = name.split("_")
    found = (words[-1], words[0], "_".join(words[-2:]), "_".join(words[:2]))
    return tuple(dict.fromkeys(head for head in found if head != name))


def _joined(name: str, counts: Mapping[str, int], rules: ClusterRules) -> str:
    if rules.own_count is not None and counts[name] >= rules.own_count:
        return name
    heads = (one for head in _heads(name) for one in (head, *_singulars(head)))
    return next((head for head in heads if head in counts), name)


def _end(joined: Mapping[str, str], name: str) -> str:
    """Where joining leads; names get shorter on the way, so it ends."""
    while joined[name] != name:
        name = joined[name]
    return name
