"""What the C-arm's world teaches: rendered views of phantoms, and where their landmarks are, in words.

The views are the localiser's (`loopwright.finetune.data.carm.rendered`), from the same cache. The words are everyday
ones: the seed's answer formats are for fine-tuning, not for the base. Directions are those of the view: right on the
picture is the patient's left, so "left 35 mm, down 110 mm" says how far the view has to move to centre a landmark.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Generator, Tensor

from loopwright.agents.carm.formats import CENTRED, CORRECTION, NAVIGATION, RETRIEVAL
from loopwright.agents.carm.places import FAR_STEP_MM, NEAR_STEP_MM, parse_place, say_place
from loopwright.agents.carm.prompts import (
    CENTRE,
    CORRECT,
    INCORRECT,
    NAVIGATE,
    NEAREST,
    RE_EVALUATE,
    RETRIEVE,
    SYSTEM,
    in_sentence,
    where,
)
from loopwright.finetune.data.carm import base_texts as carm_texts
from loopwright.finetune.data.carm.rendered import (
    DataConfig,
    Part,
    Split,
    cache_folder,
    ensure_views,
    load_split,
    seeds_of,
)
from loopwright.finetune.data.corpus import Corpus, Lesson, Probe, Turn, WorldSettings
from loopwright.finetune.runs.augmentation import AugmentConfig, augment
from loopwright.tools.carm.geometry import Optics
from loopwright.tools.carm.landmarks import LANDMARKS, SYNONYMS

HALF_VIEW_MM = Optics().field_of_view_mm / 2
TARGET_SCALE_MM = 50.0
"""Targets are asinh(offset / scale): fine in the view, coarse far away."""
SAME_PLACE_MM = 15.0
"""A question about a place is asked where one landmark is nearer to it than any other by this much."""


class CArmLessons(WorldSettings):
    """Which views are shown, how they are bent, and how many questions one of them comes with."""

    data: DataConfig
    augment: AugmentConfig = AugmentConfig()
    turns: int = Field(default=4, ge=1, le=16, description="questions a picture")
    test_phantoms: int = Field(default=20, ge=1, le=10_000)

    def open(self, cache_dir: Path, on_progress: Callable[[str], None]) -> Corpus:
        """The corpus over views that are rendered where the cache lacks them."""
        return CArmCorpus(self, cache_dir, on_progress)


SETTINGS = CArmLessons
"""By this name `loopwright.finetune.base.worlds` finds them."""


class CArmCorpus:
    """See `Corpus`. Pictures are (1, 128, 128)."""

    system = SYSTEM
    targets = tuple(f"{name}, {axis}" for name in LANDMARKS for axis in ("left", "down"))
    spots = LANDMARKS
    unit = "mm"
    close = 15.0

    def __init__(self, config: CArmLessons, cache_dir: Path, on_progress: Callable[[str], None]) -> None:
        self._config, self._on_progress = config, on_progress
        self._folder = cache_folder(cache_dir, config.data)
        counts: dict[Part, int] = {
            "train": config.data.train_phantoms,
            "validation": config.data.validation_phantoms,
            "test": config.test_phantoms,
        }
        self._seeds = {part: seeds_of(part, count) for part, count in counts.items()}
        self.cases: dict[str, list[int]] = {part: [seeds.start, seeds.stop - 1] for part, seeds in self._seeds.items()}

    def __len__(self) -> int:
        """All views of all training phantoms."""
        return self._config.data.train_phantoms * self._config.data.views_per_phantom

    def lesson(self, index: int, rng: np.random.Generator) -> Lesson:
        """See `Corpus`."""
        split = self._train
        view = _View.of(split, index)
        offsets_mm = split.offsets_mm[index]
        spots = offsets_mm / HALF_VIEW_MM
        return Lesson(
            image=split.images[index][None],
            turns=tuple(islice(draw_turns(view, rng), self._config.turns)),
            targets=(offsets_mm.flatten() / TARGET_SCALE_MM).asinh(),
            spots=spots.where(spots.abs().amax(-1, keepdim=True) <= 1, torch.nan),
        )

    def augment(self, images: Tensor, generator: Generator) -> Tensor:
        """See `Corpus`."""
        return augment(images, self._config.augment, generator)

    def texts(self) -> Iterable[str]:
        """See `Corpus`."""
        yield from (SYSTEM, RETRIEVE, CENTRE, CORRECT, RE_EVALUATE, INCORRECT, NAVIGATE)
        yield from (form.example for form in (RETRIEVAL, CENTRED, CORRECTION, NAVIGATION))
        yield from (name for names in SYNONYMS.values() for name in names)

    def writing(self, rng: np.random.Generator) -> str:
        """See `Corpus`."""
        return carm_texts.writing(rng)

    def reading(self, rng: np.random.Generator) -> Turn:
        """See `Corpus`."""
        return carm_texts.reading(rng)

    def probes(self, n_per_kind: int, *, test: bool = False) -> Sequence[Probe]:
        """See `Corpus`. Landmarks go by their canonical names, questions by their first wording."""
        split = self._split("test" if test else "validation")
        probes = []
        for number, kind in enumerate(KINDS):
            rng = np.random.default_rng([number, n_per_kind])
            found = 0
            for index in rng.permutation(len(split.images)).tolist():
                turn = kind.ask(_View.of(split, index), rng, plain=True)
                if turn is not None:
                    group = f"phantom-{split.groups[index].item()}"
                    probes.append(Probe(split.images[index][None], turn, group))
                    found += 1
                if found == n_per_kind:
                    break
        return probes

    def measure(self, answer: str) -> tuple[float, ...] | None:
        """See `Corpus`: (left, down) mm."""
        return parse_place(answer)

    @cached_property
    def _train(self) -> Split:
        return self._split("train")

    def _split(self, part: Part) -> Split:
        ensure_views(self._folder, self._seeds[part], self._config.data, self._on_progress)
        return load_split(self._folder, self._seeds[part])


class _View(NamedTuple):
    """The truth about one view: `offsets_mm` (L, 2) left and down, NaN for what the phantom has not; `order` (M,)
    indices of what it has, nearest first; `shown` those whose centre is in the picture, in the same order."""

    offsets_mm: NDArray[np.float32]
    order: tuple[int, ...]
    shown: tuple[int, ...]

    @classmethod
    def of(cls, split: Split, index: int) -> "_View":
        offsets, distance = split.offsets_mm[index].numpy(), split.distance_mm[index].numpy()
        order = tuple(i for i in np.argsort(distance).tolist() if not np.isnan(distance[i]))
        return cls(offsets, order, tuple(i for i in order if np.abs(offsets[i]).max() < HALF_VIEW_MM))


class _Wording(NamedTuple):
    """How one question of one view is put: canonical names and the first wording where `plain`."""

    rng: np.random.Generator
    plain: bool

    def name(self, landmark: int) -> str:
        """A name for the middle of a sentence."""
        names = (LANDMARKS[landmark], *SYNONYMS[LANDMARKS[landmark]])
        name = names[0] if self.plain or self.rng.random() < 0.5 else self.pick(names)
        return in_sentence(name)

    def pick(self, options: Sequence[str]) -> str:
        """One of several wordings."""
        return options[0] if self.plain else options[int(self.rng.integers(len(options)))]


_Content = tuple[tuple[str, ...], str, str]
"""What a question is about beside its kind, the question, and the answer."""


class Kind(NamedTuple):
    """One kind of question. `make` returns None where a view does not allow it."""

    name: str
    share: float
    make: Callable[[_View, np.random.Generator, _Wording], _Content | None]

    def ask(self, view: _View, rng: np.random.Generator, *, plain: bool = False) -> Turn | None:
        """A question of this kind about `view`, None where there is none."""
        made = self.make(view, rng, _Wording(rng, plain))
        return Turn((self.name, *made[0]), made[1], made[2]) if made else None


def draw_turns(view: _View, rng: np.random.Generator) -> Iterator[Turn]:
    """Questions about `view` without end, the kinds by their shares, none twice."""
    shares = np.array([kind.share for kind in KINDS])
    asked: set[tuple[str, ...]] = set()
    while True:
        turn = KINDS[rng.choice(len(KINDS), p=shares / shares.sum())].ask(view, rng)
        if turn is not None and turn.about not in asked:
            asked.add(turn.about)
            yield turn


def _where(view: _View, among: Sequence[int], rng: np.random.Generator, wording: _Wording) -> _Content | None:
    if not among:
        return None
    landmark = among[int(rng.integers(len(among)))]
    name = wording.name(landmark)
    question = wording.pick((where(name), f"How far must the view move to centre the {name}?"))
    step = NEAR_STEP_MM if landmark in view.shown else FAR_STEP_MM
    return (LANDMARKS[landmark],), question, say_place(view.offsets_mm[landmark], step)


def _where_shown(view: _View, rng: np.random.Generator, wording: _Wording) -> _Content | None:
    return _where(view, view.shown, rng, wording)


def _where_beyond(view: _View, rng: np.random.Generator, wording: _Wording) -> _Content | None:
    return _where(view, [i for i in view.order if i not in view.shown], rng, wording)


def _nearest(view: _View, rng: np.random.Generator, wording: _Wording) -> _Content | None:
    if not view.order:
        return None
    question = wording.pick((NEAREST, "What is this a picture of?"))
    return (), question, LANDMARKS[view.order[0]]


def _three(view: _View, rng: np.random.Generator, wording: _Wording) -> _Content | None:
    if len(view.order) < 3:
        return None
    question = wording.pick(("Which three landmarks are nearest, closest first?", "Name the three nearest landmarks."))
    return (), question, ", ".join(LANDMARKS[i] for i in view.order[:3])


def _in_view(view: _View, rng: np.random.Generator, wording: _Wording) -> _Content | None:
    """As often yes as no, where the view allows both; the noes are among the nearest."""
    beyond = [i for i in view.order if i not in view.shown][:4]
    among = view.shown if view.shown and rng.random() < 0.5 else beyond
    if not among:
        return None
    landmark = among[rng.integers(len(among))]
    name = wording.name(landmark)
    question = wording.pick((f"Is the {name} in view?", f"Does the picture show the {name}?"))
    return (LANDMARKS[landmark],), question, "yes" if landmark in view.shown else "no"


def _list(view: _View, rng: np.random.Generator, wording: _Wording) -> _Content | None:
    question = wording.pick(("Which landmarks are in view?", "What does the picture show?"))
    return (), question, ", ".join(LANDMARKS[i] for i in view.shown) or "none"


def _nearer(view: _View, rng: np.random.Generator, wording: _Wording) -> _Content | None:
    if len(view.order) < 2:
        return None
    first, second = rng.permutation(view.order[:5])[:2].tolist()
    question = f"Which is nearer, the {wording.name(first)} or the {wording.name(second)}?"
    nearer = min(first, second, key=view.order.index)
    return (LANDMARKS[first], LANDMARKS[second]), question, LANDMARKS[nearer]


def _at(view: _View, rng: np.random.Generator, wording: _Wording) -> _Content | None:
    """What lies at a place: asked of a landmark in view that no other one is near to."""
    apart = [i for i in view.shown if _gap_mm(view, i) > SAME_PLACE_MM]
    if not apart:
        return None
    landmark = apart[rng.integers(len(apart))]
    place = say_place(view.offsets_mm[landmark], NEAR_STEP_MM)
    return (place,), wording.pick((f"What lies {place}?", f"Which landmark is {place}?")), LANDMARKS[landmark]


def _caption(view: _View, rng: np.random.Generator, wording: _Wording) -> _Content | None:
    shown = [f"{LANDMARKS[i]}: {say_place(view.offsets_mm[i], NEAR_STEP_MM)}." for i in view.shown[:3]]
    question = wording.pick(("Describe the picture.", "Write a caption."))
    return (), question, " ".join(["A frontal radiograph.", *(shown or ["No landmark in view."])])


def _number(view: _View, rng: np.random.Generator, wording: _Wording) -> _Content | None:
    """What needs no picture: the landmarks' numbers, by which the seed's answers name them."""
    number = int(rng.integers(len(LANDMARKS)))
    if rng.random() < 0.5:
        return (LANDMARKS[number],), f"Which number has the {wording.name(number)}?", str(number + 1)
    return (str(number + 1),), f"Which landmark has number {number + 1}?", LANDMARKS[number]


def _gap_mm(view: _View, landmark: int) -> float:
    others = [i for i in view.order if i != landmark]
    gaps = np.linalg.norm(view.offsets_mm[others] - view.offsets_mm[landmark], axis=1)
    return float(gaps.min(initial=np.inf))


KINDS = (
    Kind("where", 0.3, _where_shown),
    Kind("beyond", 0.1, _where_beyond),
    Kind("nearest", 0.1, _nearest),
    Kind("three", 0.1, _three),
    Kind("in view", 0.08, _in_view),
    Kind("list", 0.06, _list),
    Kind("nearer", 0.08, _nearer),
    Kind("at", 0.1, _at),
    Kind("caption", 0.05, _caption),
    Kind("number", 0.03, _number),
)
"""Every kind of question, and its share of the training questions. A view that does not allow one draws again."""
