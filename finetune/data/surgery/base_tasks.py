"""What the surgery's world teaches: drawn frames of simulated patients, and what is visible in them, in words.

States and instruments are drawn evenly, not as procedures run: a base that knows how often one action follows another
would know something of the real patients to whom the simulator is fitted, and this one knows nothing of anybody.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from pydantic import Field
from torch import Generator, Tensor

from loopwright.agents.surgery.formats import BLEEDING_WORDS, CAPTION, PLAN, seen_words
from loopwright.agents.surgery.history import MemoryView, NearStep
from loopwright.agents.surgery.prompts import DESCRIBE, caption_system, next_action_messages, plan_messages
from loopwright.finetune.data.corpus import Corpus, Lesson, Probe, Turn, WorldSettings
from loopwright.finetune.data.surgery import base_texts as surgery_texts
from loopwright.tools.surgery.drawing import Scene, draw_scene, patient_seed
from loopwright.tools.surgery.procedure import BLEEDING, PROGRESS, VisibleState
from loopwright.tools.surgery.simulator import seeds_of, video_name
from loopwright.tools.surgery.splits import Part
from loopwright.tools.surgery.vocabulary import ACTIONS, INSTRUMENTS, TARGETS

_BLEEDING_ODDS = (0.5, 0.25, 0.25)
_INSTRUMENT_ODDS = (0.1, 0.35, 0.4, 0.15)
"""Of no instrument in view, one, two, three."""


class SurgeryLessons(WorldSettings):
    """How many patients are drawn, and how many questions a frame comes with."""

    patients: int = Field(ge=1, le=100_000)
    frames_per_patient: int = Field(default=20, ge=1, le=10_000)
    validation_patients: int = Field(default=20, ge=1, le=10_000)
    test_patients: int = Field(default=20, ge=1, le=10_000)
    turns: int = Field(default=4, ge=1, le=7, description="questions a frame, of different kinds")
    light: float = Field(default=0.15, ge=0, le=0.5, description="brightness and contrast are off by so much")
    tint: float = Field(default=0.06, ge=0, le=0.5, description="colours are off by so much")
    noise_sd: float = Field(default=0.02, ge=0, le=0.5, description="of each pixel")

    def open(self, cache_dir: Path, on_progress: Callable[[str], None]) -> Corpus:
        """The corpus; a frame is drawn when it is first shown, and kept."""
        return SurgeryCorpus(self)


SETTINGS = SurgeryLessons
"""By this name `loopwright.finetune.base.worlds` finds them."""


class _Case(NamedTuple):
    """A frame and the truth about it. `instruments` are in the vocabulary's order."""

    scene: Scene
    state: VisibleState
    instruments: tuple[str, ...]


class SurgeryCorpus:
    """See `Corpus`. Pictures are (3, 128, 128)."""

    targets = (
        "adhesions",
        "exposure",
        "vessels clipped",
        "thirds detached",
        "oozing",
        "pooling",
        *(f"{name} in view" for name in INSTRUMENTS),
    )
    spots: tuple[str, ...] = INSTRUMENTS
    unit = ""
    close = 0.0

    def __init__(self, config: SurgeryLessons) -> None:
        self._config = config
        self.system = caption_system()
        counts: dict[Part, int] = {
            "train": config.patients,
            "validation": config.validation_patients,
            "test": config.test_patients,
        }
        self._seeds = {part: seeds_of(part, count) for part, count in counts.items()}
        self.cases: dict[str, list[int]] = {part: [seeds.start, seeds.stop - 1] for part, seeds in self._seeds.items()}
        self._train = cache(self._drawn_for_training)

    def __len__(self) -> int:
        """All frames of all training patients."""
        return self._config.patients * self._config.frames_per_patient

    def lesson(self, index: int, rng: np.random.Generator) -> Lesson:
        """See `Corpus`."""
        case = self._train(index)
        seen = case.state
        measured = [
            seen.adhesions / 2,
            seen.exposure / 2,
            seen.vessels_clipped / 2,
            seen.thirds_detached / 3,
            seen.bleeding == "oozing",
            seen.bleeding == "pooling",
            *(name in case.instruments for name in INSTRUMENTS),
        ]
        spots = [case.scene.tips.get(name, (np.nan, np.nan)) for name in INSTRUMENTS]
        return Lesson(
            image=_tensor(case),
            turns=tuple(_draw_turns(case, rng, self._config.turns)),
            targets=torch.tensor(measured, dtype=torch.float32),
            spots=torch.tensor(spots, dtype=torch.float32),
        )

    def augment(self, images: Tensor, generator: Generator) -> Tensor:
        """See `Corpus`: another lamp, another white balance, a noisier sensor."""

        def about_one(amount: float, *shape: int) -> Tensor:
            return 1 + amount * (2 * torch.rand(shape, generator=generator) - 1)

        n, config = len(images), self._config
        contrast, colour = about_one(config.light, n, 1, 1, 1), about_one(config.tint, n, 3, 1, 1)
        lit = ((images - 0.5) * contrast + 0.5) * about_one(config.light, n, 1, 1, 1) * colour
        return (lit + config.noise_sd * torch.randn(images.shape, generator=generator)).clamp(0, 1)

    def texts(self) -> Iterable[str]:
        """See `Corpus`."""
        near = NearStep(action="Dissection", duration_s=40, caption=CAPTION.example)
        for shown in (MemoryView(), MemoryView(earlier={"Coagulation": 3}, distant=ACTIONS, near=(near,))):
            for messages in (next_action_messages(shown), plan_messages(shown)):
                yield from (str(message.content) for message in messages)
        yield from (self.system, DESCRIBE, CAPTION.example, PLAN.example, *ACTIONS)
        yield from (f"Targets: {name.replace('_', ' ')}." for name in TARGETS)

    def writing(self, rng: np.random.Generator) -> str:
        """See `Corpus`."""
        return surgery_texts.writing(rng)

    def reading(self, rng: np.random.Generator) -> Turn:
        """See `Corpus`."""
        return surgery_texts.reading(rng)

    def probes(self, n_per_kind: int, *, test: bool = False) -> Sequence[Probe]:
        """See `Corpus`. Questions by their first wording."""
        seeds = self._seeds["test" if test else "validation"]
        shown = [(seeds[k % len(seeds)], k // len(seeds)) for k in range(n_per_kind)]
        cases = [(video_name(patient), _drawn(patient, frame)) for patient, frame in shown]
        probes = []
        for number, kind in enumerate(KINDS):
            rng = np.random.default_rng([number, n_per_kind])
            for video, case in cases:
                about, wordings, answer = kind.make(case, rng)
                probes.append(Probe(_tensor(case), Turn((kind.name, *about), wordings[0], answer), video))
        return probes

    def measure(self, answer: str) -> tuple[float, ...] | None:
        """See `Corpus`. No answer states a quantity that could be nearly right."""
        return None

    def _drawn_for_training(self, index: int) -> _Case:
        patient, frame = divmod(index, self._config.frames_per_patient)
        return _drawn(self._seeds["train"][patient], frame)


def _drawn(patient: int, frame: int) -> _Case:
    """A frame of a patient in any state, with any instruments."""
    rng = np.random.default_rng([patient, frame])
    state = VisibleState(
        progress=int(rng.integers(len(PROGRESS))), bleeding=BLEEDING[rng.choice(len(BLEEDING), p=_BLEEDING_ODDS)]
    )
    count = rng.choice(len(_INSTRUMENT_ODDS), p=_INSTRUMENT_ODDS)
    there = rng.choice(len(INSTRUMENTS), size=count, replace=False)
    instruments = tuple(name for place, name in enumerate(INSTRUMENTS) if place in there)
    scene = draw_scene(state, instruments, patient=patient_seed(video_name(patient)), view=(frame,))
    return _Case(scene, state, instruments)


def _tensor(case: _Case) -> Tensor:
    """(3, N, N) uint8."""
    return torch.from_numpy(case.scene.pixels).permute(2, 0, 1)


_Content = tuple[tuple[str, ...], tuple[str, ...], str]
"""What a question is about beside its kind, the question in all its wordings, and the answer."""


class Kind(NamedTuple):
    """One kind of question, which every frame allows."""

    name: str
    share: float
    make: Callable[[_Case, np.random.Generator], _Content]


def _draw_turns(case: _Case, rng: np.random.Generator, count: int) -> Iterator[Turn]:
    """Questions of different kinds about a frame."""
    shares = np.array([kind.share for kind in KINDS])
    for number in rng.choice(len(KINDS), size=count, replace=False, p=shares / shares.sum()):
        kind = KINDS[number]
        about, wordings, answer = kind.make(case, rng)
        yield Turn((kind.name, *about), wordings[rng.integers(len(wordings))], answer)


def _progress(case: _Case, _: np.random.Generator) -> _Content:
    return (), ("How far is the operation?", "Which state is the dissection in?"), PROGRESS[case.state.progress]


def _bleeding(case: _Case, _: np.random.Generator) -> _Content:
    return (), ("Does it bleed?", "Is there any blood?"), BLEEDING_WORDS[case.state.bleeding]


def _instruments(case: _Case, _: np.random.Generator) -> _Content:
    question = ("Which instruments are in view?", "Name the instruments.")
    return (), question, ", ".join(case.instruments) or "none"


def _instrument(case: _Case, rng: np.random.Generator) -> _Content:
    name: str = INSTRUMENTS[rng.integers(len(INSTRUMENTS))]
    if case.instruments and rng.random() < 0.5:
        name = case.instruments[rng.integers(len(case.instruments))]
    question = (f"Is the {name} in view?", f"Does the picture show the {name}?")
    return (name,), question, "yes" if name in case.instruments else "no"


def _clips(case: _Case, _: np.random.Generator) -> _Content:
    question = ("How many vessels are clipped?", "How many of duct and artery are clipped?")
    return (), question, str(case.state.vessels_clipped)


def _detached(case: _Case, _: np.random.Generator) -> _Content:
    question = ("How many thirds of the gallbladder are off the liver?", "How many thirds are detached?")
    return (), question, str(case.state.thirds_detached)


def _caption(case: _Case, _: np.random.Generator) -> _Content:
    answer = f"{seen_words(case.state)} Instruments: {', '.join(case.instruments) or 'none'}."
    return (), (DESCRIBE, "Describe the picture.", "Write a caption."), answer


KINDS = (
    Kind("progress", 0.25, _progress),
    Kind("bleeding", 0.15, _bleeding),
    Kind("instruments", 0.15, _instruments),
    Kind("instrument", 0.1, _instrument),
    Kind("clips", 0.1, _clips),
    Kind("detached", 0.1, _detached),
    Kind("caption", 0.15, _caption),
)
"""Every kind of question, and its share of the training questions."""
