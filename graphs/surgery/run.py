"""What a user sets for a run of the surgery loop, and what a session keeps of it."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from loopwright.agents.surgery.advice import PLANNER, PlannerName
from loopwright.agents.surgery.formats import N_RANKS
from loopwright.agents.surgery.goals import read_goal
from loopwright.agents.surgery.history import MemoryMode, MemorySettings, NearAs
from loopwright.agents.surgery.knowledge import load_knowledge
from loopwright.errors import BadInput
from loopwright.graphs.loop.config import RunConfig, takes_files
from loopwright.graphs.loop.declare import Role
from loopwright.tools.surgery.statistics import bundled_statistics, read_statistics
from loopwright.tools.surgery.tools import ShownClip
from loopwright.tools.surgery.video import Video, open_video

CAPTIONER = "captioner"
LOOKING, READING = "surgery_dir", "surgery_indir"
"""A card's adapters: who is shown pictures (DirNHFM, and captions), and who is told in words (IndirNHFM)."""
Perform = Literal["video", "asked", "plan"]


class SurgeryRun(RunConfig):
    """One run of the surgery loop."""

    video: str = Field(description="`simulated:SEED`, or `FOLDER:VIDxx` with a folder that `data build surgery` wrote")
    planner: PlannerName = Field(
        default="ngram",
        description="who ranks what comes next: counted frequencies, the simulator's exact odds, or a model",
    )
    model: str = Field(default="small", description="name or path of the model card of the planner `model`")
    near_as: NearAs = Field(
        default="captions", description="how the model is shown near clips: pictures (Dir) or captions (Indir)"
    )
    memory_mode: MemoryMode = Field(
        default="all",
        description="what the model is shown of the past: last picture and action, near clips without or with their "
        "actions, or all",
    )
    near_steps: int = Field(default=1, ge=1, description="number of clips shown in detail")
    distant_steps: int = Field(default=20, ge=0, description="number of actions before them shown one by one")
    captioner: Literal["labels", "model"] = Field(
        default="labels", description="who writes captions: the clip's labels, or a model that sees its picture"
    )
    captioning_model: str | None = Field(
        default=None, description="name or path of the captioner's model card; the planner's where none is given"
    )
    goal: str = Field(
        default="", description="what ends the run, such as `the vessels are clipped`; empty: the video's end"
    )
    procedure: str = Field(default="cholecystectomy", description="a procedure that comes with it, or a folder")
    statistics: Path | None = Field(
        default=None,
        description="`statistics.json` for the planner `ngram`, as `data build surgery` writes it",
        json_schema_extra=takes_files(".json"),
    )
    perform: Perform = Field(
        default="video",
        description="what is done next: as the video goes; in the simulator what the surgeon asked for, or the plan",
    )
    recall_choices: bool = Field(
        default=False,
        description="weigh in what surgeons approved or named in the same situation, in earlier sessions too",
    )
    sure_from: float = Field(default=0.4, ge=0, le=1, description="probability from which the first action is sure")
    clips: int | None = Field(default=None, ge=1, description="number of clips to go through; all where none is given")

    @field_validator("video", mode="before")
    @classmethod
    def _absolute_folder(cls, value: Any) -> Any:
        folder, colon, name = value.rpartition(":") if isinstance(value, str) else ("", "", "")
        is_folder = bool(colon) and folder != "simulated" and Path(folder).expanduser().is_dir()
        return f"{Path(folder).expanduser().resolve()}:{name}" if is_folder else value

    @property
    def view(self) -> MemorySettings:
        """What of the past a model is shown."""
        return MemorySettings(
            mode=self.memory_mode, near_as=self.near_as, near_steps=self.near_steps, distant_steps=self.distant_steps
        )

    @property
    def asks_for_captions(self) -> bool:
        """Whether a model writes captions."""
        return self.captioner == "model" and self.near_as == "captions"


def roles_of(run: SurgeryRun) -> dict[str, Role]:
    """The models that a run asks."""
    found = {}
    if run.planner == "model":
        found[PLANNER] = Role(card=run.model, adapter=LOOKING if run.near_as == "pictures" else READING)
    if run.asks_for_captions:
        found[CAPTIONER] = Role(card=run.captioning_model or run.model, adapter=LOOKING)
    return found


def prepare(run: SurgeryRun) -> dict[str, Any]:
    """Check a run against the real video; what the session keeps, all that a later change must not touch.

    Raises:
        BadInput: the video, the procedure or the statistics will not do, or do not go together.
        UnknownName: there is no such procedure or goal.
    """
    _refuse_unread(run)
    video, knowledge = open_video(run.video), load_knowledge(run.procedure)
    if len(knowledge.choices) <= N_RANKS:
        raise BadInput(
            f"`procedure` {run.procedure!r} has {len(knowledge.choices)} actions; a plan ranks {N_RANKS}, and the "
            "present one cannot follow itself. Describe at least one more."
        )
    if not video.can_differ and run.perform != "video":
        raise BadInput(f"`perform` {run.perform!r}: {video.name} is recorded, nothing else can be done in it.")
    if run.planner == "bayes" and video.state(0, {}) is None:
        raise BadInput(f"`planner` 'bayes' knows simulated patients only, and {video.name} is recorded.")
    looks = run.asks_for_captions or (run.planner == "model" and run.near_as == "pictures")
    if looks and not _has_pictures(video):
        raise BadInput(f"{video.name} has no picture. Show clips as captions, and take these from the labels.")
    statistics = read_statistics(run.statistics) if run.statistics else bundled_statistics()
    return {
        "goal": read_goal(run.goal).name if run.goal else "",
        "knowledge": knowledge.model_dump(mode="json"),
        "statistics": statistics.model_dump(mode="json") if run.planner == "ngram" else None,
    }


def _refuse_unread(run: SurgeryRun) -> None:
    """Refuse an option that was set and that nothing would read."""
    is_model = run.planner == "model", "--planner model"
    read_with = {
        "near_as": is_model,
        "memory_mode": is_model,
        "distant_steps": is_model,
        "model": (run.planner == "model" or run.asks_for_captions, "--planner model"),
        "captioner": (run.near_as == "captions", "--near-as captions"),
        "captioning_model": (run.asks_for_captions, "--captioner model"),
        "statistics": (run.planner == "ngram", "--planner ngram"),
    }
    for name, (is_read, companion) in read_with.items():
        value = getattr(run, name)
        if not is_read and value != SurgeryRun.model_fields[name].default:
            raise BadInput(f"`{name}` {str(value)!r} would not be read. Leave it out, or add `{companion}`.")


def _has_pictures(video: Video) -> bool:
    index = 0
    while video.clip(index, {}) is not None:
        if video.image(index, {}) is not None:
            return True
        index += 1
    return False


def redraw(run: SurgeryRun, _: Mapping[str, Any]) -> Callable[[dict[str, Any]], NDArray[np.uint8]]:
    """A function from what `show_clip` gave to its picture, (H, W, 3) uint8, drawn or read anew."""
    video = open_video(run.video)

    def draw(observation: dict[str, Any]) -> NDArray[np.uint8]:
        seen = ShownClip.model_validate(observation)
        image = video.image(seen.clip, {one.clip: one.action for one in seen.performed})
        if image is None:
            raise BadInput(f"Clip {seen.clip} of {video.name} had a picture, and has none any more.")
        return image

    return draw
