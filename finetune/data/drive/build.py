"""Builds the drive loop's conversations from simulated drives.

    OUT/PART.messages.jsonl       all of a part, for TRL; and OUT/PART.sharegpt.jsonl for LLaMA-Factory
    OUT/PART/ID.png               pictures, where the settings show any
    OUT/cases.json                the drives that each file depends on (`loopwright.finetune.data.cases`)

Stage `pretrain` asks for one future frame alone, of a named view; stage `sft` for the six parts of an answer and, mixed
in, for perception, for reasoning and for frames alone. Frames are shown and answered as codes of an image tokenizer.
Run again, it writes the same. Test drives are never asked about.
"""

import hashlib
import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image
from pydantic import Field

from loopwright.agents.drive.formats import FRAME, PARTS, DriveAnswer, Part, drive_form
from loopwright.agents.drive.perception import agents_seen, risk_words
from loopwright.agents.drive.prompts import Asked, Shown, View, drive_messages, frame_messages
from loopwright.finetune.data.cases import write_cases
from loopwright.finetune.data.drive.manoeuvre import action_of
from loopwright.finetune.data.drive.moments import HORIZONS_S, Future, Track, drives, futures, tracks
from loopwright.finetune.data.files import write_dataset_info, write_examples
from loopwright.finetune.data.rows import FORMATS, Example, FormatName, example_of
from loopwright.models.answers import TextFormat
from loopwright.models.networks.drive import ImageTokenizer
from loopwright.schema import Frozen, ImageRef
from loopwright.tools.drive.scenarios import seeds_of
from loopwright.tools.drive.scene import CAMERAS, FUTURE_STEPS, Scene
from loopwright.tools.drive.views import Picture, camera_view, top_view
from loopwright.tools.files import keep_parameters, write_whole

Stage = Literal["pretrain", "sft"]
TAUGHT: tuple[Literal["train", "validation"], ...] = ("train", "validation")
PERCEPTION: tuple[Part, ...] = ("perception",)
REASONING: tuple[Part, ...] = ("perception", "think", "action")


class DriveRows(Frozen):
    """What decides the content, beside the image tokenizer."""

    stage: Stage
    seed: int = Field(default=0, ge=0)
    drives: int = Field(default=120, ge=1, description="to train on, the scenarios in turn")
    validation: int = Field(default=2, ge=0, description="drives to choose by")
    cameras: int = Field(default=4, ge=1, description="vehicles that each drive is seen from")
    every: int = Field(default=2, ge=1, description="of a vehicle's moments, each so many-th")
    horizons_s: tuple[float, ...] = Field(default=HORIZONS_S, min_length=1)
    top: float = Field(
        default=1.0, ge=0, le=1, description="share of frames from above (pretrain); others are a camera's"
    )
    told: float = Field(default=0.5, ge=0, le=1, description="share of sft rows that name road users in words")
    mixed: float = Field(
        default=0.6, ge=0, lt=1, description="share of sft rows that ask for parts alone, half a frame"
    )
    shown: tuple[View, ...] = Field(default=(), description="views that are shown as pictures too")


def build(
    out: Path,
    rows: DriveRows,
    tokenizer: ImageTokenizer,
    *,
    formats: Sequence[FormatName] = tuple(FORMATS),
    on_progress: Callable[[str], None] = lambda _: None,
) -> dict[Path, int]:
    """Build everything in `out`, made where it is missing; how many conversations are in each file.

    Raises:
        BadInput: `out` was built with other settings.
        MissingDependency: highway-env is not installed.
    """
    keep_parameters(out, rows.model_dump(mode="json"))
    written: dict[Path, int] = {}
    cases: dict[str, set[str]] = {}
    for part, count in zip(TAUGHT, (rows.drives, rows.validation), strict=True):
        seeds = seeds_of(part, count)
        examples = [
            example
            for scenario, seed in drives(seeds)
            for track in tracks(scenario, seed, rows.cameras)
            for example in _Writer(out, part, rows, tokenizer, seed).examples(track)
        ]
        on_progress(f"{part}: {len(examples)} conversations about {count} drives")
        for form in formats if examples else ():
            path = out / f"{part}.{form}.jsonl"
            write_examples(path, examples, form)
            written[path] = len(examples)
            cases[path.name] = {f"simulated {seeds[0]} to {seeds[-1]}"}
    write_cases(out, cases)
    if "sharegpt" in formats:
        write_dataset_info(out, [path.name for path in written if ".sharegpt." in path.name])
    return written


class _Writer:
    """Writes the conversations of one vehicle's drive."""

    def __init__(self, out: Path, part: str, rows: DriveRows, tokenizer: ImageTokenizer, seed: int) -> None:
        self.out, self.part, self.rows, self.tokenizer = out, part, rows, tokenizer
        self.rng = np.random.default_rng([rows.seed, seed])

    def form(self, parts: tuple[Part, ...]) -> TextFormat[DriveAnswer]:
        """The form of an answer with these parts."""
        return drive_form(parts, self.tokenizer.n_codes)

    def examples(self, track: Track) -> Iterator[Example]:
        """One for each moment that has what is asked for."""
        for k, future in enumerate(futures(track, self.rows.horizons_s, self.rng)):
            if k % self.rows.every:
                continue
            if self.rows.stage == "pretrain":
                yield self._frame(future)
            elif len(future.driven) == FUTURE_STEPS:
                yield self._mixed(future) if self.rng.random() < self.rows.mixed else self._turn(future, PARTS)

    def _mixed(self, future: Future) -> Example:
        which = self.rng.integers(4)
        return self._turn(future, (PERCEPTION, REASONING)[which]) if which < 2 else self._frame(future, "top")

    def _frame(self, future: Future, view: View | None = None) -> Example:
        """What will be seen, alone."""
        if view is None:
            view = "top" if self.rng.random() < self.rows.top else CAMERAS[self.rng.integers(len(CAMERAS))]
        asked, visual = asked_of(future, view, self.tokenizer)
        shown, paths = self._shown(future.now)
        answer = DriveAnswer(visual=visual)
        return example_of(frame_messages(shown, asked), self.form(FRAME).render(answer), paths)

    def _turn(self, future: Future, parts: tuple[Part, ...]) -> Example:
        """A whole answer, or some of its parts."""
        asked, visual = asked_of(future, "top", self.tokenizer)
        asked = asked.model_copy(update={"is_told": bool(self.rng.random() < self.rows.told)})
        seen = agents_seen(future.now)
        shown, paths = self._shown(future.now)
        answer = DriveAnswer(
            perception=seen,
            prediction=(future.pose.x_m, future.pose.y_m),
            visual=visual,
            think=risk_words(seen),
            action=action_of(future.now, future.driven),
            answer=future.driven,
        )
        return example_of(drive_messages(future.now, shown, asked, parts), self.form(parts).render(answer), paths)

    def _shown(self, scene: Scene) -> tuple[list[Shown], dict[str, str]]:
        """The pictures of a moment, and where each one lies."""
        shown, paths = [], {}
        for view in self.rows.shown:
            name = f"{self.part}/{scene.token}-{view}.png"
            image = _kept(self.out / name, drawn(scene, view, self.tokenizer.size_px))
            shown.append(Shown(view=view, image=image))
            paths[image.sha256] = name
        return shown, paths


def asked_of(future: Future, view: View, tokenizer: ImageTokenizer) -> tuple[Asked, tuple[int, ...]]:
    """What the imagined frame depends on, as the driver is told it, and the codes of what came."""
    frames = np.stack([drawn(scene, view, tokenizer.size_px) for scene in (future.moved, future.then)])
    moved, then = (tuple(codes) for codes in tokenizer.encode(frames).tolist())
    expected = future.pose.x_m, future.pose.y_m
    return Asked(horizon_s=future.horizon_s, view=view, expected=expected, moved=moved), then


def drawn(scene: Scene, view: View, size_px: int) -> Picture:
    """(size_px, size_px, 3) a named view of a scene."""
    return top_view(scene, size_px) if view == "top" else camera_view(scene, view, size_px, size_px)


def _kept(path: Path, picture: Picture) -> ImageRef:
    """A picture as a file; one that lies there is taken as it is."""
    if not path.is_file():
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, format="PNG")
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, buffer.getvalue())
    height, width = picture.shape[:2]
    return ImageRef(sha256=hashlib.sha256(path.read_bytes()).hexdigest(), width_px=width, height_px=height)
