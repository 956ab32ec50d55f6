"""Builds the surgeon's conversations: recorded patients' clips and simulated patients, asked about in every task.

    OUT/PART/VIDEO/*.png          pictures (Dir), named by clip
    OUT/PART.messages.jsonl       all of a part, for TRL; and OUT/PART.sharegpt.jsonl for LLaMA-Factory
    OUT/cases.json                the patients that each file depends on (`loopwright.finetune.data.cases`)

Run again, it writes the same. Nobody's test samples are asked for: what a caller hands in is for training or for
choosing. A simulator that is fitted to patients makes what it gives depend on them.
"""

import hashlib
import io
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from pydantic import Field

from loopwright.agents.surgery.formats import Plan, caption_of
from loopwright.agents.surgery.history import Step, step_of, steps_of
from loopwright.agents.surgery.policies import NgramPolicy, Policy
from loopwright.errors import BadInput
from loopwright.finetune.data.cases import forget_cases, write_cases
from loopwright.finetune.data.files import write_dataset_info, write_examples
from loopwright.finetune.data.rows import FORMATS, FormatName, example_of
from loopwright.finetune.data.surgery.tasks import Scene, TaskSettings, questions
from loopwright.models.pixels import open_picture
from loopwright.schema import Frozen, ImageRef
from loopwright.tools.files import write_whole
from loopwright.tools.surgery.bayes import next_action
from loopwright.tools.surgery.clips import Clip
from loopwright.tools.surgery.drawing import SIZE_PX, draw_moment
from loopwright.tools.surgery.procedure import Procedure, bundled_procedure, fit_procedure
from loopwright.tools.surgery.samples import HistoryRules, Sample, samples_of
from loopwright.tools.surgery.simulator import Moment, seeds_of, simulate
from loopwright.tools.surgery.splits import Part, split_of, video_of
from loopwright.tools.surgery.statistics import ClipStatistics

TAUGHT: tuple[Part, ...] = ("train", "validation")
_VALIDATION_SHARE = 10
"""Of so many simulated patients to train on there is one to choose by."""

Distilled = Mapping[tuple[str, int], Plan]
"""A stronger model's plans, by video and last known clip."""


class SurgeryChat(Frozen):
    """What decides the content, beside the samples."""

    seed: int = Field(default=0, ge=0)
    asked: TaskSettings = TaskSettings()
    simulated: int = Field(default=0, ge=0, description="patients to train on; a tenth as many to choose by")
    plain_share: float = Field(
        default=0.3, ge=0, le=1, description="simulated moments (Indir) told as recorded ones are, by labels alone"
    )
    drawn_px: int = Field(default=SIZE_PX, ge=32, le=2048, description="edge of simulated pictures")
    recorded_px: int = Field(default=448, ge=32, le=2048, description="recorded pictures fit into such a square")

    def simulated_of(self, part: Part) -> int:
        """How many simulated patients a part has."""
        return self.simulated if part == "train" else -(-self.simulated // _VALIDATION_SHARE)


class Recorded(NamedTuple):
    """Samples of recorded patients by part, what was fitted to those who train, and where their pictures are."""

    samples: Mapping[Part, Sequence[Sample]]
    statistics: ClipStatistics
    frames: Path | None = None


def build(
    out: Path,
    chat: SurgeryChat,
    recorded: Recorded | None = None,
    *,
    distilled: Distilled | None = None,
    formats: Sequence[FormatName] = tuple(FORMATS),
    on_progress: Callable[[str], None] = lambda _: None,
) -> dict[Path, int]:
    """Build everything in `out`.

    Args:
        out: made where it is missing.
        chat: settings.
        recorded: None for simulated patients alone, who are then those of the bundled statistics.
        distilled: plans that take the place of those made by code.
        formats: which files are written.
        on_progress: called with of each part.

    Returns:
        How many conversations are in each file.

    Raises:
        BadInput: there is nothing to ask about, or a picture that a clip names is gone or damaged.
    """
    procedure = None
    if chat.simulated:
        procedure = fit_procedure(recorded.statistics) if recorded else bundled_procedure()
    written: dict[Path, int] = {}
    cases: dict[str, set[str]] = {}
    plans = _Plans(distilled or {})
    for part in TAUGHT:
        album = _Album(out, part, chat)
        examples, videos = [], set[str]()
        for scene in _scenes(album, chat, part, recorded, procedure):
            sample = scene.sample
            rng = np.random.default_rng([chat.seed, zlib.crc32(sample.video.encode()), sample.index])
            for prompt, answer in questions(scene, chat.asked, rng, plans.of(sample)):
                examples.append(example_of(prompt, answer, album.path_of))
            videos.add(sample.video)
        on_progress(f"{part}: {len(examples)} conversations about {len(videos)} patients")
        for form in formats if examples else ():
            if not written:  # from here on no file of an earlier build is what `cases.json` says of it
                forget_cases(out)
            path = out / f"{part}.{form}.jsonl"
            write_examples(path, examples, form)
            written[path] = len(examples)
            cases[path.name] = videos | _fitted_to(chat, recorded)
    if not written:
        raise BadInput("There is nothing to ask about. Give clips with pictures (Dir), or simulated patients.")
    for stale in {out / f"{part}.{form}.jsonl" for part in TAUGHT for form in FORMATS} - written.keys():
        stale.unlink(missing_ok=True)  # of an earlier build, about other patients
    if distilled is not None:
        on_progress(plans.told)
    write_cases(out, cases)
    if "sharegpt" in formats:
        write_dataset_info(out, [path.name for path in written if ".sharegpt." in path.name])
    return written


def _fitted_to(chat: SurgeryChat, recorded: Recorded | None) -> set[str]:
    """Whose clips the plans' usual ranks and the simulator come from."""
    if recorded is None:  # the bundled statistics name no patients, so anybody may be in them
        return {video_of(patient) for patient in split_of("all").train}
    return {sample.video for sample in recorded.samples.get("train", ())}


class _Plans:
    """A teacher's plans, each for its moment; one that contradicts the label there is of other clips, and not used."""

    def __init__(self, distilled: Distilled) -> None:
        self._distilled, self._used, self._wrong = distilled, 0, 0

    def of(self, sample: Sample) -> Plan | None:
        """The plan for this moment, if there is one that begins with what came next."""
        plan = self._distilled.get((sample.video, sample.index))
        if plan is None:
            return None
        last = sample.actions[-1]
        fits = plan.ranking[0] == sample.next and (last == sample.next or last not in plan.ranking)
        self._used, self._wrong = self._used + fits, self._wrong + (not fits)
        return plan if fits else None

    @property
    def told(self) -> str:
        """What became of them."""
        others = len(self._distilled) - self._used - self._wrong
        return (
            f"plans: {self._used} used; left out are {self._wrong} that contradict the label at their moment, and "
            f"{others} of moments that are not asked about here"
        )


class _Album:
    """The pictures of one part: written once, found again by their content."""

    def __init__(self, out: Path, part: Part, chat: SurgeryChat) -> None:
        self.path_of: dict[str, str] = {}
        self._out, self._part, self._chat = out, part, chat
        self._refs: dict[tuple[str, int], tuple[ImageRef, ...]] = {}

    @property
    def is_wanted(self) -> bool:
        """Whether questions show pictures at all."""
        return self._chat.asked.near_as == "pictures"

    def drawn(self, moment: Moment) -> tuple[ImageRef, ...]:
        """The picture at the end of a simulated clip."""
        return self._kept(moment.clip, lambda: [draw_moment(moment, size_px=self._chat.drawn_px)])

    def recorded(self, clip: Clip, frames: Path) -> tuple[ImageRef, ...]:
        """The pictures that a recorded clip shows."""
        return self._kept(clip, lambda: [self._opened(frames / name) for name in clip.frames])

    def _kept(self, clip: Clip, make: Callable[[], Sequence[NDArray[np.uint8]]]) -> tuple[ImageRef, ...]:
        key = clip.video, clip.index
        if key not in self._refs:
            stem = f"{self._part}/{clip.video}/{clip.index:04d}"
            self._refs[key] = tuple(self._written(f"{stem}-{i}.png", image) for i, image in enumerate(make()))
        return self._refs[key]

    def _written(self, name: str, image: NDArray[np.uint8]) -> ImageRef:
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, format="PNG")
        path = self._out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, buffer.getvalue())
        ref = ImageRef(
            sha256=hashlib.sha256(buffer.getvalue()).hexdigest(), width_px=image.shape[1], height_px=image.shape[0]
        )
        self.path_of[ref.sha256] = name
        return ref

    def _opened(self, path: Path) -> NDArray[np.uint8]:
        edge = self._chat.recorded_px
        try:
            image = open_picture(path, "it").convert("RGB")
        except BadInput as error:
            raise BadInput(f"`{path}`, which a clip shows, cannot be read: {error} Build the clips again.") from error
        return np.asarray(ImageOps.contain(image, (edge, edge), Image.Resampling.BICUBIC))


def _scenes(
    album: _Album, chat: SurgeryChat, part: Part, recorded: Recorded | None, procedure: Procedure | None
) -> Iterator[Scene]:
    """Every moment that is asked about. Where pictures are shown, a recorded one without any is left out."""
    if recorded:
        usual = NgramPolicy(recorded.statistics)
        for sample in recorded.samples.get(part, ()):
            yield from _recorded_scene(album, chat, sample, recorded.frames, usual)
    if procedure is not None:
        for seed in seeds_of(part, chat.simulated_of(part)):
            yield from _simulated_scenes(album, chat, procedure, seed)


def _recorded_scene(
    album: _Album, chat: SurgeryChat, sample: Sample, frames: Path | None, usual: Policy
) -> Iterator[Scene]:
    shown = {clip.index for clip in sample.near[-chat.asked.near_steps :]} if album.is_wanted else ()
    if album.is_wanted and (frames is None or not sample.near[-1].frames):
        return

    def described(clip: Clip) -> Step:
        images = album.recorded(clip, frames) if frames is not None and clip.index in shown else ()
        return step_of(clip, caption=caption_of(clip), images=images)

    steps = steps_of(sample, described)
    yield Scene(sample, steps, usual.next_action(steps))


def _simulated_scenes(album: _Album, chat: SurgeryChat, procedure: Procedure, seed: int) -> Iterator[Scene]:
    moments = list(simulate(procedure, seed))
    plain = np.random.default_rng([chat.seed, seed]).random(len(moments)) < chat.plain_share
    near = HistoryRules(near_clips=chat.asked.near_steps)

    def described(clip: Clip) -> Step:
        moment = moments[clip.index]
        images = album.drawn(moment) if album.is_wanted else ()
        state = None if plain[clip.index] else moment.state
        return step_of(clip, caption=caption_of(clip, state), images=images)

    for sample in samples_of([moment.clip for moment in moments], near):
        last = moments[sample.index]
        odds = next_action(procedure, "history+frame", sample.actions, last)
        is_told = album.is_wanted or not plain[sample.index]
        yield Scene(sample, steps_of(sample, described), odds, last.state if is_told else None)
