"""Names of ingredients in free text: cleans the lines of an ingredient list, and finds names in instructions.

A name is lower-case words joined by `_`: "400 g (15 oz) potatoes, peeled" is `potatoes`; which class that belongs to, a
`Vocabulary` knows. Cleaning follows inversecooking (Salvador et al. 2019) as far as it is published: lower case, no
digits, "&" is "and", no punctuation, spaces to `_`. Recipe1M's lists that were parsed before need no more;
lists as people write them also lose amounts, states, and what else would do.
"""

import re
import unicodedata
from functools import cache
from importlib.resources import files

import yaml

from loopwright.schema import Frozen

_LONGEST_NAME = 4
_BRACKETS = re.compile(r"\([^()]*\)|\[[^\]]*\]|\([^()]*$")
_AMOUNT = re.compile(r"\d+(?:[.,/-]\d+)*|[¼-¾⅐-⅞]")
_WORD = re.compile(r"[^\W\d_]+(?:[-'’][^\W\d_]+)*")


class IngredientWords(Frozen):
    """Words that are no part of a name. See `words.yaml`."""

    amounts: frozenset[str]
    states: frozenset[str]
    also_names: frozenset[str]
    ends: frozenset[str]
    parts: frozenset[str]


@cache
def bundled_words() -> IngredientWords:
    """The words that come with the package."""
    text = files("loopwright.tools.recipe").joinpath("words.yaml").read_text(encoding="utf-8")
    return IngredientWords.model_validate(yaml.safe_load(text))


def clean_name(text: str) -> str:
    """Cleaned as inversecooking does it: `Salt & Pepper 2` is `salt_and_pepper`. "" where nothing is left."""
    plain = unicodedata.normalize("NFKD", re.sub("['’]", "", text.lower().replace("&", " and ")))
    kept = "".join(letter if letter.isalpha() else " " for letter in plain if not unicodedata.combining(letter))
    return "_".join(kept.split())


def ingredient_name(line: str, words: IngredientWords | None = None) -> str:
    """The name in a line as people write it; "" for a heading, or where no name is left."""
    words = words or bundled_words()
    text = _BRACKETS.sub(" ", line.lower().replace("–", "-").replace("&", " and "))
    if text.rstrip().endswith(":"):
        return ""
    pieces = re.split(r"[,;:*]|\s-\s|\.\s|\.$| / ", _AMOUNT.sub(" ", text.replace("/", " / ") if "/" in text else text))
    for piece in pieces:
        kept = _name_words(_WORD.findall(piece), words)
        if kept:
            return clean_name(" ".join(kept[-_LONGEST_NAME:]))
    return ""


def _name_words(found: list[str], words: IngredientWords) -> list[str]:
    """Of a piece of a line, the words of the name."""
    kept: list[str] = []
    for place, word in enumerate(found):
        if word in words.ends and kept:
            break
        if word == "of" and kept and kept[-1] in words.parts:
            kept = []  # "zest of 3 oranges" is of oranges
        if word in words.amounts or word in words.states or word in words.ends:
            if word == "and" and kept:
                break
            continue
        if word in words.parts and place + 1 < len(found) and found[place + 1] == "of":
            continue
        kept.append(word)
    return kept or [word for word in found if word in words.also_names][:1]


def singular(name: str) -> str:
    """The name without a plural of its last word, by spelling: `tomatoes` is `tomato`, `berries` is `berry`."""
    for ending, stem in (("ies", "y"), ("oes", "o"), ("sses", "ss"), ("shes", "sh"), ("ches", "ch"), ("xes", "x")):
        if name.endswith(ending) and len(name) > len(ending) + 2:
            return name[: -len(ending)] + stem
    if name.endswith("s") and not name.endswith(("ss", "us", "is")) and len(name) > 3:
        return name[:-1]
    return name
