"""Vision-language models as predictors of the next action: zero-shot and tuned, in words (Indir) and pictures (Dir).

They are asked as in the loop, by the same functions, and their choices are scored. An adapter says whom it was fitted
to; one that may know a patient it would be tested on is refused. Near history is the last known clip's: what its labels
say of instruments and targets, in the simulator also what is truly visible, or its picture. Nothing is known of the
next clip.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import numpy as np
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage

from loopwright.agents.role import ask, choose
from loopwright.agents.surgery.formats import CAPTION, NEXT_ACTION, caption_of
from loopwright.agents.surgery.history import MemoryMode, MemorySettings, NearAs, Step, step_of, view
from loopwright.agents.surgery.prompts import caption_messages, next_action_messages
from loopwright.errors import BadInput
from loopwright.finetune.evaluate.pictures import PngStore
from loopwright.finetune.evaluate.surgery.baselines import Array, Fit, History, Predictor, Training
from loopwright.models.cards import ModelCard
from loopwright.models.local.chat import LocalChatModel
from loopwright.models.open import open_model
from loopwright.schema import ImageRef
from loopwright.tools.surgery.clips import Clip
from loopwright.tools.surgery.drawing import draw_moment
from loopwright.tools.surgery.procedure import Procedure
from loopwright.tools.surgery.simulator import FIRST_SEED, Moment, seed_of, simulate
from loopwright.tools.surgery.splits import patient_of
from loopwright.tools.surgery.video import RecordedVideo
from loopwright.tools.surgery.vocabulary import ACTIONS

Kind = Literal["indir", "dir"]
KINDS: tuple[Kind, ...] = get_args(Kind)
ROLES: dict[Kind, str] = {"indir": "surgery_indir", "dir": "surgery_dir"}
"""The card's adapters."""
NEAR_AS: dict[Kind, NearAs] = {"indir": "captions", "dir": "pictures"}
CAPTIONED = "indir-sft+captions"
SIMULATED = "simulated"
"""The fold of simulated patients."""
TOGETHER = 128
"""Questions scored before progress is told."""
IN_FLIGHT = 16

Describe = Callable[[Clip], Step]
Progress = Callable[[str], object]


class Sights:
    """How clips are described and shown: recorded ones by their labels and pictures, simulated ones by the truth."""

    def __init__(self, store: PngStore, procedure: Procedure | None = None, frames: Path | None = None) -> None:
        self._store, self._procedure, self._frames = store, procedure, frames
        self._moments = cache(self._simulated)
        self._pictures: dict[tuple[str, int], tuple[ImageRef, ...]] = {}

    def in_words(self, clip: Clip) -> Step:
        """With a caption."""
        moment = self._moment(clip)
        return step_of(clip, caption=caption_of(clip, None if moment is None else moment.state))

    def in_pictures(self, clip: Clip) -> Step:
        """With its last picture, where it has one."""
        key = clip.video, clip.index
        if key not in self._pictures:
            self._pictures[key] = self._shown(clip)
        return step_of(clip, images=self._pictures[key])

    def captioned_by(self, captioner: BaseChatModel) -> Describe:
        """With the caption that a model writes of the picture, once (IndirNHFM); without, where there is no picture."""
        captions: dict[tuple[str, int], str] = {}

        def described(clip: Clip) -> Step:
            key = clip.video, clip.index
            if key not in captions:
                images = self.in_pictures(clip).images
                captions[key] = ask(captioner, caption_messages(images), CAPTION).value if images else ""
            return step_of(clip, caption=captions[key])

        return described

    def _shown(self, clip: Clip) -> tuple[ImageRef, ...]:
        moment = self._moment(clip)
        image = draw_moment(moment) if moment else RecordedVideo([clip], self._frames).image(0, {})
        return () if image is None else (self._store.add(image),)

    def _moment(self, clip: Clip) -> Moment | None:
        seed = seed_of(clip.video)
        return None if seed is None or self._procedure is None else self._moments(seed)[clip.index]

    def _simulated(self, seed: int) -> Sequence[Moment]:
        return list(simulate(self._procedure, seed)) if self._procedure else ()


class Surgeon(NamedTuple):
    """A model that is asked in words or in pictures; which one may depend on whom it may have been fitted to."""

    name: str
    kind: Kind
    model_for: Callable[[Training], BaseChatModel]
    is_blind: bool = False
    captioner_for: Callable[[Training], BaseChatModel] | None = None
    """Who writes the captions; None: the labels, or the simulator's truth."""
    is_of_card: bool = False
    """Whether an adapter that it takes is the card's: one for all folds, which may know who is tested in some."""

    @property
    def reads_labels(self) -> bool:
        """Whether it is told what labels say, or the simulator's truth."""
        return self.kind == "indir" and self.captioner_for is None

    @property
    def blind(self) -> "Surgeon":
        """The same, told labels alone."""
        return self._replace(name=f"{self.name}, labels alone", is_blind=True)

    def fit(self, sights: Sights, *, mode: MemoryMode = "all", on_progress: Progress = lambda _: None) -> Fit:
        """As a predictor: its fit is which model is taken."""
        memory = MemorySettings(mode=mode, near_as=NEAR_AS[self.kind])

        def fitted(training: Training) -> Predictor:
            shown = self._described(sights, training)
            repeats = any(sample.next == sample.actions[-1] for sample in training.samples)
            may_repeat = repeats or mode == "near"  # which shows no action: not to repeat it would give it away
            return partial(
                _odds, self.model_for(training), memory, shown, may_repeat=may_repeat, on_progress=on_progress
            )

        return fitted

    def _described(self, sights: Sights, training: Training) -> Describe:
        if self.captioner_for is not None:
            return sights.captioned_by(self.captioner_for(training))
        if self.is_blind:
            return step_of
        return sights.in_words if self.kind == "indir" else sights.in_pictures


def open_surgeons(card: ModelCard, store: PngStore, adapters: Path | None = None) -> list[Surgeon]:
    """`indir-base` and `dir-base`, and `indir-sft` and `dir-sft` where there are adapters.

    `indir-sft+captions` reads what `dir-sft` writes of each picture, where both are there.

    Args:
        card: of the base; its adapters `surgery_indir` and `surgery_dir` are taken where `adapters` has none.
        store: where pictures are shown from.
        adapters: folder of `indir/fold1`, ..., `dir/simulated`: runs of `loopwright train sft`, or their adapters.

    Raises:
        BadInput, MissingDependency, OperatorError: what the card names is missing or wrong, or `adapters` holds none.
    """
    if adapters is not None and not any((adapters / kind).is_dir() for kind in KINDS):
        raise BadInput(
            f"`{adapters}` holds no adapters; expected a folder of `indir/fold1`, ..., `dir/simulated`, as "
            "docs/surgery-learning.md trains them."
        )
    model = open_model(card, images=store)
    found: list[Surgeon] = [Surgeon(f"{kind}-base", kind, lambda _: model) for kind in KINDS]
    if not isinstance(model, LocalChatModel):
        return found
    tuned: list[Kind] = [
        k for k in KINDS if ROLES[k] in card.adapters or (adapters is not None and (adapters / k).is_dir())
    ]
    adapted: dict[Kind, Callable[[Training], BaseChatModel]] = {
        kind: partial(_adapted, model, kind, adapters) for kind in tuned
    }
    of_card = {kind for kind in tuned if adapters is None or not (adapters / kind).is_dir()}
    found += [Surgeon(f"{k}-sft", k, model_for, is_of_card=k in of_card) for k, model_for in adapted.items()]
    if len(adapted) == len(KINDS):
        captioner = adapted["dir"]
        found.append(Surgeon(CAPTIONED, "indir", adapted["indir"], captioner_for=captioner, is_of_card=bool(of_card)))
    return found


def refuse_who_knows_the_tested(folder: Path, cases: Sequence[str], training: Training) -> None:
    """Refuse an adapter that was fitted to others than may be known.

    Args:
        folder: the adapter's, for the message.
        cases: whom it says that it was fitted to.
        training: a fold's training patients; of the simulated fold any recorded patient may be known.

    Raises:
        BadInput: naming those who must not be known, or that nobody is named.
    """
    if not cases:
        raise BadInput(
            f"The adapter `{folder}` does not say whom it was fitted to, so nobody can be tested with it. Train it on "
            "what `loopwright data build surgery --chat` writes."
        )
    known = {sample.video for sample in (*training.samples, *training.choosing)}
    if strangers := [case for case in cases if _is_tested(case, known, training.fold)]:
        raise BadInput(
            f"The adapter `{folder}` was fitted to {', '.join(strangers[:5])}{' ...' if strangers[5:] else ''}, who "
            f"are no training patients of {training.fold}. Build its data with `--split {training.fold}`."
        )


def _is_tested(case: str, known: set[str], fold: str) -> bool:
    seed = seed_of(case)
    if seed is not None:
        return seed >= FIRST_SEED["test"]
    return fold != SIMULATED and patient_of(case) not in set(map(patient_of, known))


def _adapted(model: LocalChatModel, kind: Kind, adapters: Path | None, training: Training) -> BaseChatModel:
    """`model` with the adapter of a fold, checked."""
    from loopwright.finetune.sft.release import open_adapter

    own = None if adapters is None else adapters / kind / training.fold
    if own is not None and own.is_dir():
        path, temperature = own, 1.0
    elif ROLES[kind] in model.card.adapters and (training.fold == SIMULATED or own is None or not own.parent.is_dir()):
        path = model.card.adapters[ROLES[kind]]
        temperature = model.card.choice_temperature.get(ROLES[kind], 1.0)
    else:
        raise BadInput(
            f"There is no adapter `{own}`. Build its data with `loopwright data build surgery --split {training.fold} "
            f"--chat {kind}`, and train it: `loopwright train sft --out {own}`."
        )
    adapter = open_adapter(path)
    refuse_who_knows_the_tested(adapter.folder, adapter.record.run.cases if adapter.record else (), training)
    role = f"{ROLES[kind]} of {training.fold}"
    changed = {"adapters": {role: adapter.folder}, "choice_temperature": {role: temperature}}
    card = model.card.model_copy(update=changed)
    return LocalChatModel(card=card, engine=model.engine, images=model.images).with_adapter(role)


def _odds(
    model: BaseChatModel,
    memory: MemorySettings,
    describe: Describe,
    histories: Sequence[History],
    *,
    may_repeat: bool,
    on_progress: Progress,
) -> Array:
    """(n, 5) P(next action); 0 for the last one where clips are merged, so that it never follows itself."""
    with ThreadPoolExecutor(IN_FLIGHT) as pool:  # captions are drawn together
        pasts = pool.map(lambda history: _steps(history, memory, describe), histories)
        prompts = [next_action_messages(view(steps, memory)) for steps in pasts]
    odds = np.concatenate([np.empty((0, len(ACTIONS))), *_scored_together(model, prompts, on_progress)])
    if not may_repeat:
        last = np.array([ACTIONS.index(history.actions[-1]) for history in histories], dtype=np.intp)
        odds[np.arange(len(odds)), last] = 0.0
    found: Array = odds / odds.sum(axis=1, keepdims=True)
    return found


def _steps(history: History, memory: MemorySettings, describe: Describe) -> list[Step]:
    """The past; only what is shown in detail is described."""
    near = history.near[-memory.near_steps :]
    before = [Step(action=action) for action in history.actions[: len(history.actions) - len(near)]]
    return [*before, *map(describe, near)]


def _scored_together(model: BaseChatModel, prompts: Sequence[list[BaseMessage]], on_progress: Progress) -> list[Array]:
    """(m, 5) of each m prompts."""

    def one(prompt: list[BaseMessage]) -> list[float]:
        found = choose(model, prompt, ACTIONS, NEXT_ACTION).probabilities
        return [found[action] for action in ACTIONS]

    parts: list[Array] = []
    with ThreadPoolExecutor(IN_FLIGHT) as pool:
        for begin in range(0, len(prompts), TOGETHER):
            chosen = prompts[begin : begin + TOGETHER]
            if isinstance(model, LocalChatModel):
                parts.append(model.score_choices_of(chosen, ACTIONS).probabilities)
            else:
                parts.append(np.array(list(pool.map(one, chosen))))
            on_progress(f"{begin + len(chosen)} of {len(prompts)} questions")
    return parts
