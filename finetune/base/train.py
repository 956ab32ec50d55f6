"""Train the base: the eye by regression, then all of it to answer, to write forms and to read texts; resumable.

Which pictures, questions and augmentations a step sees is a function of (seed, step), so a checkpoint holds no
generator, and on one machine a run that was killed and resumed ends with the weights of one that was not. The run
folder holds `config.yaml`, `tokenizer/`, `metrics.jsonl`, `loss.png`, `checkpoint.pt` (read with `weights_only`) and,
at the end, `model/`: a folder that `from_pretrained` reads, in bfloat16.
"""

import copy
import json
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from itertools import cycle, islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Generator, Tensor, nn
from transformers import GenerationConfig, PreTrainedTokenizerFast

from loopwright.errors import BadInput, DeveloperError, MissingDependency
from loopwright.finetune.base.batch import encode, encode_texts, repetition
from loopwright.finetune.base.config import BaseConfig
from loopwright.finetune.base.evaluate import answer, figures, score
from loopwright.finetune.base.loss import Losses, Pictures, digit_weights, losses
from loopwright.finetune.base.model import ReadingHeads, make_model, make_processor
from loopwright.finetune.base.plot import plot
from loopwright.finetune.base.tokenizer import train_tokenizer
from loopwright.finetune.base.worlds import open_worlds
from loopwright.finetune.data.corpus import Corpus, Lesson, Turn, sample_turns, stack
from loopwright.finetune.runs.schedule import OptimiserConfig, one_cycle
from loopwright.schema import Frozen
from loopwright.settings import settings

Progress = Callable[[str], None]
CHECKPOINT, METRICS, MODEL, TOKENIZER = "checkpoint.pt", "metrics.jsonl", "model", "tokenizer"
TELL_EVERY = 50
"""Steps between two records of the loss."""
TEXT_LESSONS = 4000
"""Lessons that the tokenizer is trained on."""


class TrainResult(Frozen):
    """What a finished run leaves. `validation` are the figures of the last step, on held-out cases."""

    model: Path
    steps: int
    validation: dict[str, float]


class Moment(NamedTuple):
    """Where a step lies: the stage, its schedule, and the step within it."""

    stage: int
    schedule: OptimiserConfig
    step: int

    @property
    def talks(self) -> bool:
        """Whether questions are trained."""
        return self.stage > 0

    @property
    def writes(self) -> bool:
        """Whether texts are repeated."""
        return self.stage > 1

    @property
    def reads(self) -> bool:
        """Whether texts are asked about."""
        return self.stage > 2


def train(
    config: BaseConfig, out_dir: Path, on_progress: Progress = lambda _: None, *, cache_dir: Path | None = None
) -> TrainResult:
    """Train in `out_dir`, going on where an earlier run of the same config stopped.

    Args:
        config: everything that the run depends on.
        out_dir: the run folder, made if need be.
        on_progress: called with a line now and then.
        cache_dir: where rendered views are kept; by default the user's cache.

    Raises:
        BadInput: `out_dir` holds a run of another config, no world takes part, or pictures are too few.
        MissingDependency: matplotlib, which draws the loss, or the GPU that the config asks for.
    """
    if find_spec("matplotlib") is None:
        raise MissingDependency("The loss is drawn with matplotlib: `pip install 'loopwright[train]'`.")
    device = _device(config)
    config.claim(out_dir)
    if config.threads:
        torch.set_num_threads(config.threads)
    corpora = open_worlds(config.worlds, cache_dir or settings().cache_dir, on_progress)
    return _Run(config, out_dir, corpora, device, on_progress).to_end()


class _Run:
    """The state of one training run: model, heads, optimiser and step."""

    def __init__(
        self, config: BaseConfig, out_dir: Path, corpora: dict[str, Corpus], device: torch.device, on_progress: Progress
    ) -> None:
        self.config, self.out_dir, self.corpora, self.on_progress = config, out_dir, corpora, on_progress
        self.pictures = [(world, index) for world, corpus in corpora.items() for index in range(len(corpus))]
        largest = max(stage.batch for stage in config.stages)
        if len(self.pictures) < largest:
            raise BadInput(f"`batch` is {largest!r}, but the worlds have only {len(self.pictures)} pictures.")
        self.tokenizer = _tokenizer(config, out_dir, corpora)
        self.processor = make_processor(config.model, self.tokenizer)
        torch.manual_seed(config.seed)
        self.model = make_model(config.model, self.tokenizer)
        self.heads = nn.ModuleDict(
            {
                world: ReadingHeads(
                    config.model.hidden, len(corpus.targets), len(corpus.spots), config.model.tokens_across
                )
                for world, corpus in corpora.items()
            }
        )
        self.trained = nn.ModuleDict({"model": self.model, "heads": self.heads}).to(device)
        self.weights = digit_weights(self.tokenizer, len(self.tokenizer), config.loss.digit).to(device)
        self.optimiser = torch.optim.AdamW(_groups(self.trained))
        self.probes = {world: corpus.probes(config.probes_per_kind) for world, corpus in corpora.items()}
        self.step, self.validation = 0, dict[str, float]()
        if (out_dir / CHECKPOINT).is_file():
            self._restore()

    def to_end(self) -> TrainResult:
        began, first = time.monotonic(), self.step
        for picks in self._picks():
            loss = self._train_on(picks)
            self.step += 1
            if self.step % TELL_EVERY == 0 or self.step == self.config.steps:
                self._report(loss, (time.monotonic() - began) / (self.step - first))
            talks = self.step > self.config.look.steps
            if (talks and self.step % self.config.validate_every == 0) or self.step == self.config.steps:
                self._validate()
            if self.step % self.config.checkpoint_every == 0 or self.step == self.config.steps:
                self._checkpoint()
        folder = self.out_dir / MODEL
        self._save_model(folder)
        plot(self.out_dir / METRICS, self.out_dir / "loss.png")
        return TrainResult(model=folder, steps=self.step, validation=self.validation)

    def _moment(self) -> Moment:
        step = self.step
        for number, schedule in enumerate(self.config.stages):
            if step < schedule.steps:
                return Moment(number, schedule, step)
            step -= schedule.steps
        raise DeveloperError(f"Step {self.step!r} lies behind the last of {self.config.steps}.")

    def _picks(self) -> Iterator[list[tuple[str, int]]]:
        """The pictures of the batches from the current step on; each epoch of a stage shuffled anew."""
        while self.step < self.config.steps:
            stage, schedule, step = self._moment()
            epoch, k = divmod(step, len(self.pictures) // schedule.batch)
            order = np.random.default_rng([self.config.seed, 1, stage, epoch]).permutation(len(self.pictures))
            yield [self.pictures[i] for i in order[k * schedule.batch : (k + 1) * schedule.batch]]

    def _train_on(self, picks: list[tuple[str, int]]) -> Losses:
        moment = self._moment()
        schedule = moment.schedule
        self.model.train()
        rng = np.random.default_rng([self.config.seed, 2, self.step])
        lessons = [self.corpora[world].lesson(index, rng) for world, index in picks]
        with_system = rng.random() < self.config.system_share
        systems = [self.corpora[world].system if with_system else "" for world, _ in picks]
        turns = [lesson.turns for lesson in lessons]
        device = self.weights.device
        text = encode(turns, systems, self.tokenizer, self.config.model).to(device) if moment.talks else None
        repetitions = encode_texts(self._repetitions(rng), self.tokenizer).to(device) if moment.writes else None
        readings = encode_texts(self._readings(rng), self.tokenizer).to(device) if moment.reads else None
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            loss = losses(
                self.model,
                self.heads,
                self._pictures([world for world, _ in picks], lessons),
                text,
                self.weights,
                self.config.model,
                self.config.loss,
                repetitions,
                readings,
            )
        rate = one_cycle(moment.step, schedule)
        for group, decay in zip(self.optimiser.param_groups, (schedule.weight_decay, 0.0), strict=True):
            group["lr"], group["weight_decay"] = rate, decay
        self.optimiser.zero_grad(set_to_none=True)
        loss.total.backward()  # type: ignore[no-untyped-call]
        parameters = [p for group in self.optimiser.param_groups for p in group["params"]]
        torch.nn.utils.clip_grad_norm_(parameters, schedule.clip_norm)
        self.optimiser.step()
        return loss

    def _repetitions(self, rng: np.random.Generator) -> list[Turn]:
        """Of the worlds in turn."""
        return [repetition(corpus.writing(rng)) for corpus in self._in_turn(self.config.texts_per_step)]

    def _readings(self, rng: np.random.Generator) -> list[Turn]:
        """Of the worlds in turn."""
        return [corpus.reading(rng) for corpus in self._in_turn(self.config.readings_per_step)]

    def _in_turn(self, n: int) -> Iterator[Corpus]:
        return islice(cycle(self.corpora.values()), n)

    def _pictures(self, worlds: list[str], lessons: list[Lesson]) -> Pictures:
        """The lessons' pictures, bent as each world's cameras do it, on the device."""
        edge, device = self.config.model.image_px, self.weights.device
        images = torch.empty(len(lessons), 3, edge, edge)
        rows: dict[str, Tensor] = {}
        targets: dict[str, Tensor] = {}
        spots: dict[str, Tensor] = {}
        for world in dict.fromkeys(worlds):
            own = [k for k, name in enumerate(worlds) if name == world]
            seed = np.random.SeedSequence([self.config.seed, 3, self.step, len(rows)])
            generator = Generator().manual_seed(int(seed.generate_state(1, np.uint64)[0]) >> 1)
            images[own] = self.corpora[world].augment(stack(lessons[k].image for k in own), generator)
            rows[world] = torch.tensor(own, device=device)
            targets[world] = torch.stack([lessons[k].targets for k in own]).to(device)
            spots[world] = torch.stack([lessons[k].spots for k in own]).to(device)
        return Pictures(images.to(device), rows, targets, spots)

    def _report(self, loss: Losses, seconds_per_step: float) -> None:
        parts = {name: part.item() for name, part in loss._asdict().items()}
        self._record({"step": self.step, **parts})
        left_min = (self.config.steps - self.step) * seconds_per_step / 60
        said = ", ".join(f"{name} {value:.3f}" for name, value in parts.items())
        self.on_progress(f"step {self.step} of {self.config.steps}: {said}; {left_min:.0f} min left")

    def _validate(self) -> None:
        self.validation = {}
        for world, corpus in self.corpora.items():
            probes = self.probes[world]
            found = figures(score(answer(self.model, self.processor, probes), probes, corpus), probes, corpus)
            self.validation |= {f"{world}/{name}": value for name, value in found.items()}
        self._record({"step": self.step, **self.validation})
        plot(self.out_dir / METRICS, self.out_dir / "loss.png")
        self.on_progress(f"step {self.step}: " + ", ".join(f"{k} {v:.3f}" for k, v in self.validation.items()))

    def _record(self, record: dict[str, float]) -> None:
        with (self.out_dir / METRICS).open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    def _checkpoint(self) -> None:
        partial = self.out_dir / (CHECKPOINT + ".partial")
        torch.save(
            {
                "trained": self.trained.state_dict(),
                "optimiser": self.optimiser.state_dict(),
                "step": self.step,
                "validation": self.validation,
            },
            partial,
        )
        partial.replace(self.out_dir / CHECKPOINT)

    def _restore(self) -> None:
        state = torch.load(self.out_dir / CHECKPOINT, weights_only=True, map_location=self.weights.device)
        self.trained.load_state_dict(state["trained"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step, self.validation = state["step"], state["validation"]
        metrics = self.out_dir / METRICS
        lines = metrics.read_text(encoding="utf-8").splitlines(keepends=True) if metrics.is_file() else []
        kept = [line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= self.step]
        metrics.write_text("".join(kept), encoding="utf-8")
        self.on_progress(f"resumed at step {self.step} of {self.config.steps}")

    def _save_model(self, folder: Path) -> None:
        rounded = copy.deepcopy(self.model).bfloat16()
        rounded.generation_config = GenerationConfig(
            eos_token_id=self.tokenizer.eos_token_id, pad_token_id=self.tokenizer.pad_token_id, do_sample=False
        )
        rounded.save_pretrained(folder)
        self.processor.save_pretrained(folder)


def _tokenizer(config: BaseConfig, out_dir: Path, corpora: dict[str, Corpus]) -> PreTrainedTokenizerFast:
    """The run's own: trained once, so that a later change of the texts cannot change a run on its way."""
    folder = out_dir / TOKENIZER
    if not (folder / "tokenizer_config.json").is_file():
        texts = [
            *(text for corpus in corpora.values() for text in corpus.texts()),
            *(
                text
                for corpus in corpora.values()
                for turn in sample_turns(corpus, TEXT_LESSONS, config.seed)
                for text in (turn.question, turn.answer)
            ),
        ]
        train_tokenizer(texts, config.model.vocab_size).save_pretrained(folder)
    tokenizer: PreTrainedTokenizerFast = PreTrainedTokenizerFast.from_pretrained(folder)
    return tokenizer


def _groups(modules: nn.Module) -> list[dict[str, list[Tensor]]]:
    """Matrices decay, the first group; biases and norms do not."""
    parameters = list(modules.parameters())
    return [{"params": [p for p in parameters if p.ndim > 1]}, {"params": [p for p in parameters if p.ndim <= 1]}]


def _device(config: BaseConfig) -> torch.device:
    there = torch.cuda.is_available()
    if config.device == "cuda" and not there:
        raise MissingDependency("`device: cuda` needs an NVIDIA GPU and a CUDA build of torch. Set `device: auto`.")
    return torch.device("cuda" if there and config.device != "cpu" else "cpu")
