"""Rewards by name: pure functions of an episode, each a number a turn; a run's config gives weights and settings.

What belongs to one loop is in `loopwright.finetune.grpo.NAME`, whose `REWARDS` a run of the loop NAME finds beside
these; `module:function` names any other. A label list is read as it is written: a label said twice counts against
precision, and no label, or a reply in no form, is an empty list; so neither repeating, nor dumping all labels, nor
saying nothing pays.
"""

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, cast

from loopwright.errors import BadInput, UnknownName
from loopwright.finetune.grpo.config import RewardConfig
from loopwright.finetune.grpo.episode import Episode, last_only
from loopwright.graphs.resolve import resolve
from loopwright.schema.json_text import parse_json

Reward = Callable[..., Sequence[float]]
"""A function of an `Episode`, and settings as keywords, to a number for each of its turns."""
Band = Literal["head", "mid", "tail"]
FOUND: Mapping[Band, float] = {"tail": 1.5, "mid": 0.5, "head": 0.1}
MISSED: Mapping[Band, float] = {"tail": 1.2, "mid": 0.3, "head": 0.05}
INVENTED = 0.2
"""The recipe paper's word-level reward (equation 5): rare labels count for more, either way."""
ANSWER = r"<answer>(.*?)</answer>"


def format_reward(episode: Episode) -> list[float]:
    """The share of replies that keep their form to the letter: 1 where all do."""
    return [turn.is_exact / len(episode.turns) for turn in episode.turns]


def length_reward(episode: Episode, *, most: int) -> list[float]:
    """0 up to `most` tokens a reply, and -1 for each further `most`: a guard against talking for talking's sake."""
    return [-max(0, turn.n_tokens - most) / most for turn in episode.turns]


def f1_reward(episode: Episode, *, answer: str = ANSWER) -> list[float]:
    """F1 of the labels in the reply against those of the row's answer. `answer` is a pattern whose group holds them."""
    said, true = _labels(episode, answer)
    hits = len(set(said) & set(true))
    return last_only(episode, 2 * hits / (len(said) + len(true)) if hits else 0.0)


def word_reward(episode: Episode, *, bands: str | Mapping[str, Band], answer: str = ANSWER) -> list[float]:
    """Rare labels count for more: +1.5 / .5 / .1 for one that is right (tail / mid / head), -1.2 / .3 / .05 for one
    that is missed, -.2 for one that is wrong or said again.

    Args:
        episode: whose last reply is a list of labels.
        bands: label -> "head", "mid" or "tail", or a JSON file of that; a label that is not in it is tail.
        answer: as in `f1_reward`.
    """
    said, true = _labels(episode, answer)
    band_of = bands_in(bands) if isinstance(bands, str) else bands
    right = set(said) & set(true)
    value = sum(FOUND[band_of.get(label, "tail")] for label in right)
    value -= sum(MISSED[band_of.get(label, "tail")] for label in set(true) - right)
    return last_only(episode, value - INVENTED * (len(said) - len(right)))


REWARDS: dict[str, Reward] = {"format": format_reward, "length": length_reward, "f1": f1_reward, "word": word_reward}


class Rewards:
    """The components of a run's reward, with their weights."""

    def __init__(self, chosen: Mapping[str, RewardConfig], loop: str = "") -> None:
        """Find them by name; that of another package's is `module:function`.

        Raises:
            UnknownName: there is no such reward, or it takes no such setting.
            BadInput: a setting is missing.
        """
        known = {**REWARDS, **_of_loop(loop)}
        self._weights = {name: config.weight for name, config in chosen.items()}
        self._functions = {name: _with_settings(name, known, config.settings) for name, config in chosen.items()}

    @property
    def names(self) -> tuple[str, ...]:
        """Of the components."""
        return tuple(self._functions)

    def of(self, episode: Episode) -> dict[str, list[float]]:
        """Each component of an episode's reward, without its weight: a number a turn."""
        if not episode.turns:
            return {name: [] for name in self._functions}
        return {name: list(function(episode)) for name, function in self._functions.items()}

    def weighted(self, parts: Mapping[str, Sequence[float]]) -> list[float]:
        """The reward of each turn."""
        products = [[self._weights[name] * value for value in values] for name, values in parts.items()]
        return [sum(values) for values in zip(*products, strict=True)]


def _with_settings(name: str, known: Mapping[str, Reward], settings: Mapping[str, object]) -> Reward:
    function = cast(Reward, resolve(name)) if ":" in name else known.get(name)
    if function is None:
        raise UnknownName("reward", name, sorted(known))
    takes = {n: p for n, p in inspect.signature(function).parameters.items() if p.kind is p.KEYWORD_ONLY}
    for given in settings.keys() - takes.keys():
        raise UnknownName(f"setting of the reward {name!r}", given, sorted(takes))
    for wanted in (n for n, p in takes.items() if p.default is p.empty and n not in settings):
        raise BadInput(f"`rewards.{name}.settings` lacks `{wanted}`, which has no default. Settings: {sorted(takes)}.")
    return partial(function, **settings)


def _of_loop(loop: str) -> dict[str, Reward]:
    """What a loop of the package brings."""
    module = f"loopwright.finetune.grpo.{loop}"
    if not loop.isidentifier() or find_spec(module) is None:
        return {}
    return cast(dict[str, Reward], resolve(f"{module}:REWARDS"))


def _labels(episode: Episode, answer: str) -> tuple[list[str], list[str]]:
    """The labels of the last reply and of the row's answer, as they are written."""
    return _listed(episode.turns[-1].text, answer), _listed(str(episode.row["answer"]), answer)


def _listed(text: str, answer: str) -> list[str]:
    found = re.search(answer, text, re.DOTALL)
    return [label for part in found[1].split(",") if (label := part.strip())] if found else []


@cache
def bands_in(path: str) -> dict[str, Band]:
    """Which labels are frequent, and which are rare.

    Raises:
        BadInput: no such file, or no bands in it.
    """
    try:
        read: Any = parse_json(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadInput(
            f"`bands` = {path!r} cannot be read: {error}. Expected JSON, label -> head, mid or tail."
        ) from None
    if not isinstance(read, dict) or not set(read.values()) <= {"head", "mid", "tail"}:
        raise BadInput(f"`{path}` holds no bands; expected JSON, label -> head, mid or tail.")
    return read
