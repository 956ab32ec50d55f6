"""What a world teaches the base: pictures with questions and answers, numbers to read off, and held-out probes.

Knows no world and no model. Which wording and which questions a picture comes with is drawn by the generator that the
caller hands in, so that a training run is a function of its seed.
"""

from abc import ABC, abstractmethod
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Generator, Tensor

from loopwright.schema import Frozen

About = tuple[str, ...]
"""What is asked, whatever the words: the kind of question, then what it is about, as ("where", "Carina")."""


class Turn(NamedTuple):
    """One question about a picture, and its answer."""

    about: About
    question: str
    answer: str


class Lesson(NamedTuple):
    """One picture, (C, N, N) uint8 with C of 1 or 3, what is said about it, its regression targets and its spots.

    Targets (K,) are float32 of the order of 1, NaN where the picture has none. Spots (S, 2) are where the things that
    have a place lie in the picture, right and down in [-1, 1]; NaN for what is not in it.
    """

    image: Tensor
    turns: tuple[Turn, ...]
    targets: Tensor
    spots: Tensor


class Probe(NamedTuple):
    """One held-out question. `group` names the case that the picture shows, for intervals over cases."""

    image: Tensor
    turn: Turn
    group: str

    @property
    def kind(self) -> str:
        """The kind of question, by which results are told apart."""
        return self.turn.about[0]


class Corpus(Protocol):
    """All that one world teaches."""

    targets: tuple[str, ...]
    """Names of the K regression targets."""

    spots: tuple[str, ...]
    """Names of the S things that have a place in a picture."""

    system: str
    """What this world's agents are told before all else; some lessons open with it."""

    cases: dict[str, list[int]]
    """Part to the first and last seed of its cases, for the card: no case is in two parts."""

    def __len__(self) -> int:
        """How many training pictures there are."""
        ...

    def lesson(self, index: int, rng: np.random.Generator) -> Lesson:
        """A lesson about training picture `index`."""
        ...

    def augment(self, images: Tensor, generator: Generator) -> Tensor:
        """(B, C, N, N) float32 in [0, 1] to the same: what this world's cameras may do to a picture."""
        ...

    def texts(self) -> Iterable[str]:
        """Further texts that the tokenizer should know, such as the prompts of this world's agents."""
        ...

    def writing(self, rng: np.random.Generator) -> str:
        """What a role of this world may write, in one of its forms; it is true of no picture."""
        ...

    def reading(self, rng: np.random.Generator) -> Turn:
        """A question that its own text answers, as what a role of this world is told does; no picture goes with it."""
        ...

    def probes(self, n_per_kind: int, *, test: bool = False) -> Sequence[Probe]:
        """Held-out questions, `n_per_kind` of each kind, always the same: on validation cases, or on test cases."""
        ...

    def measure(self, answer: str) -> tuple[float, ...] | None:
        """The quantity that an answer states, in `unit`; None where it states none."""
        ...

    unit: str
    """Of what `measure` returns."""

    close: float
    """How far off, in `unit`, a stated quantity may be and still be of use."""


class WorldSettings(Frozen, ABC):
    """What a corpus depends on, beside the code."""

    @abstractmethod
    def open(self, cache_dir: Path, on_progress: Callable[[str], None]) -> Corpus:
        """The corpus; what is not in `cache_dir` is rendered, and `progress` is given a line now and then."""


class Prior:
    """The trivial baseline: for each question what the training answers say most often, or in the middle."""

    def __init__(self, corpus: Corpus, n_lessons: int, seed: int) -> None:
        by_about, by_kind = defaultdict[About, Counter[str]](Counter), defaultdict[str, Counter[str]](Counter)
        measured = defaultdict[About, list[tuple[float, ...]]](list)
        for turn in sample_turns(corpus, n_lessons, seed):
            by_about[turn.about][turn.answer] += 1
            by_kind[turn.about[0]][turn.answer] += 1
            if (quantity := corpus.measure(turn.answer)) is not None:
                measured[turn.about].append(quantity)
        self._mode = {about: counted.most_common(1)[0][0] for about, counted in by_about.items()}
        self._mode_of_kind = {kind: counted.most_common(1)[0][0] for kind, counted in by_kind.items()}
        self._median = {
            about: tuple(median(axis) for axis in zip(*quantities, strict=True))
            for about, quantities in measured.items()
        }

    def answer(self, about: About) -> str:
        """The most frequent answer to this question, or to its kind where training never asked it."""
        return self._mode.get(about, self._mode_of_kind.get(about[0], ""))

    def quantity(self, about: About) -> tuple[float, ...] | None:
        """The median quantity among the answers to this question."""
        return self._median.get(about)


def sample_turns(corpus: Corpus, n_lessons: int, seed: int) -> Iterator[Turn]:
    """The turns of `n_lessons` lessons, spread over the training pictures."""
    rng = np.random.default_rng([seed, 0])
    for index in rng.integers(len(corpus), size=n_lessons):
        yield from corpus.lesson(int(index), rng).turns


def stack(images: Iterable[Tensor]) -> Tensor:
    """(C, N, N) uint8 pictures as one batch (B, C, N, N) float32 in [0, 1]."""
    return torch.stack(list(images)).float() / 255
