"""Running the surgery loop: its configuration, and how a session gets its video, past, planner and models."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from loopwright.agents.hearing import Ear
from loopwright.agents.session import Runtime
from loopwright.agents.surgery.advice import ActionPlanner, ModelPlanner, PlannerName, PolicyPlanner
from loopwright.agents.surgery.feedback import parse_feedback
from loopwright.agents.surgery.formats import N_RANKS
from loopwright.agents.surgery.goals import read_goal
from loopwright.agents.surgery.history import MemoryMode, MemorySettings, NearAs, Step
from loopwright.agents.surgery.knowledge import Knowledge, load_knowledge
from loopwright.agents.surgery.policies import BayesPolicy, NgramPolicy
from loopwright.errors import BadInput
from loopwright.graphs.advisors import checked_card, make_advisor
from loopwright.graphs.late_world import LateWorld
from loopwright.graphs.state import Loop, Opening, RunConfig
from loopwright.graphs.surgery.nodes import Perform, SurgeryDeps, SurgeryState, build, initial_state
from loopwright.graphs.surgery.report import surgery_sections
from loopwright.memory import Memory
from loopwright.tools.actuate import Actuator
from loopwright.tools.pictures import keep_picture
from loopwright.tools.surgery.statistics import ClipStatistics, bundled_statistics, read_statistics
from loopwright.tools.surgery.video import Video, open_video
from loopwright.tools.surgery.vocabulary import Action
from loopwright.tools.surgery.world import SurgicalVideoWorld

LOOKING, READING = "surgery_dir", "surgery_indir"
"""Roles of a card's adapters: who is shown pictures (DirNHFM, and captions), and who is told in words (IndirNHFM)."""
MOST_CLIPS = 4096
"""Recalled of one video; a procedure has some dozens."""


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
    memory: MemoryMode = Field(
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
        default=None, description="`statistics.json` for the planner `ngram`, as `data build surgery` writes it"
    )
    perform: Perform = Field(
        default="video",
        description="what is done next: as the video goes; in the simulator what the surgeon asked for, or the plan",
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
            mode=self.memory, near_as=self.near_as, near_steps=self.near_steps, distant_steps=self.distant_steps
        )

    @property
    def asks_for_captions(self) -> bool:
        """Whether a model writes captions."""
        return self.captioner == "model" and self.near_as == "captions"


def prepare(config: RunConfig) -> dict[str, Any]:
    """Check a run against the real video and models; what the session keeps, all that a later change must not touch.

    Raises:
        BadInput: the video, the procedure, the statistics or a model will not do, or do not go together.
        UnknownName: there is no such procedure, goal or model card.
    """
    run = SurgeryRun.model_validate(config)
    _refuse_unread(run)
    video, knowledge = open_video(run.video), load_knowledge(run.procedure)
    goal = read_goal(run.goal).name if run.goal else ""
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
        "run": run.model_copy(update={"goal": goal}).model_dump(mode="json"),
        "knowledge": knowledge.model_dump(mode="json"),
        "statistics": statistics.model_dump(mode="json") if run.planner == "ngram" else None,
        "card": checked_card(run.model) if run.planner == "model" else None,
        "captioning_card": checked_card(run.captioning_model or run.model) if run.asks_for_captions else None,
    }


def _refuse_unread(run: SurgeryRun) -> None:
    """Refuse an option that was set and that nothing would read."""
    is_model = run.planner == "model"
    read_with = {
        "near_as": (is_model, "--planner model"),
        "memory": (is_model, "--planner model"),
        "distant_steps": (is_model, "--planner model"),
        "model": (is_model or run.asks_for_captions, "--planner model"),
        "captioner": (run.near_as == "captions", "--near-as captions"),
        "captioning_model": (run.asks_for_captions, "--captioner model"),
        "statistics": (run.planner == "ngram", "--planner ngram"),
    }
    for name, (is_read, companion) in read_with.items():
        value = getattr(run, name)
        if not is_read and value != SurgeryRun.model_fields[name].default:
            raise BadInput(f"`{name}` {str(value)!r} would not be read. Leave it out, or add `{companion}`.")


def redraw(kept: dict[str, Any]) -> Callable[[dict[str, Any]], NDArray[np.uint8]]:
    """A function from an observation's JSON to its picture, (H, W, 3) uint8, drawn or read anew."""
    video = open_video(SurgeryRun.model_validate(kept["run"]).video)

    def draw(observation: dict[str, Any]) -> NDArray[np.uint8]:
        snapshot = observation["snapshot"]
        instead: dict[int, Action] = {int(clip): action for clip, action in snapshot["instead"].items()}
        image = video.image(snapshot["clip"], instead)
        if image is None:
            raise BadInput(f"Clip {snapshot['clip']} of {video.name} had a picture, and has none any more.")
        return image

    return draw


class _Theatre(LateWorld[SurgicalVideoWorld]):
    """The world of a run, opened when first needed: a replay needs no video."""

    def __init__(self, run: SurgeryRun, opening: Opening) -> None:
        self._run, self._opening = run, opening

    def open(self) -> SurgicalVideoWorld:
        device = self._opening.device_dir / f"{self._opening.session_id}.sqlite"
        return SurgicalVideoWorld(open_video(self._run.video), device=device)

    def observe(self) -> dict[str, Any]:
        world, image = self.world, self.world.image()
        kept = None if image is None else keep_picture(self._opening.memory, self._opening.session_id, image)
        return {
            "clip": world.clip.model_dump(mode="json"),
            "image": None if kept is None else kept.model_dump(mode="json"),
            "truth": None if world.truth is None else world.truth.model_dump(mode="json"),
            "is_last": world.is_last,
            "snapshot": world.snapshot(),
        }

    def action(self) -> Action:
        return self.world.clip.action


class _Past:
    """The clips of a session in its memory."""

    def __init__(self, memory: Memory, session_id: str, near_steps: int) -> None:
        self._steps, self._session_id, self._near_steps = memory.steps, session_id, near_steps

    def recall(self, step: int) -> dict[str, Any]:
        # the present clip is a near one too, and is not recorded yet
        past = self._steps.near_history(self._session_id, self._near_steps - 1, before_step=step, max_runs=MOST_CLIPS)
        return {
            "distant": [run.label for run in past.earlier for _ in range(run.n)],
            "near": [row.detail["step"] for row in past.steps],
        }

    def record(self, state: SurgeryState, seen: Step, scored: dict[str, Any] | None) -> None:
        detail = {
            "step": seen.model_dump(mode="json", exclude={"truth"}),
            "advice": state["decision"],
            "scored": scored,
        }
        before = ([step["action"] for step in state["past"]["near"]] or state["past"]["distant"])[-1:]
        self._steps.record(
            self._session_id,
            state["branch"],
            state["step"],
            label=seen.action,
            signature=" -> ".join([*before, seen.action]),
            detail=detail,
        )


def _planner(run: SurgeryRun, kept: dict[str, Any], knowledge: Knowledge) -> ActionPlanner:
    match run.planner:
        case "ngram":
            statistics = ClipStatistics.model_validate(kept["statistics"])
            return PolicyPlanner(NgramPolicy(statistics, choices=knowledge.choices), "ngram", knowledge)
        case "bayes":
            return PolicyPlanner(BayesPolicy(choices=knowledge.choices), "bayes", knowledge)
        case "model":
            return ModelPlanner(run.view, knowledge)


def _has_pictures(video: Video) -> bool:
    index = 0
    while video.clip(index, {}) is not None:
        if video.image(index, {}) is not None:
            return True
        index += 1
    return False


def open_runtime(kept: dict[str, Any], opening: Opening) -> Runtime:
    """The loop's runtime for one session, from what `prepare` returned."""
    run, knowledge = SurgeryRun.model_validate(kept["run"]), Knowledge.model_validate(kept["knowledge"])
    memory, theatre = opening.memory, _Theatre(run, opening)
    actuator = Actuator(theatre, memory.ledger, opening.session_id, opening.cancel)
    role = LOOKING if run.near_as == "pictures" else READING
    cards = kept["card"], kept["captioning_card"]
    deps = SurgeryDeps(
        journal=opening.journal,
        ear=Ear(memory, opening.journal, parse_feedback, waits=run.on_uncertain == "ask"),
        theatre=theatre,
        memory=_Past(memory, opening.session_id, run.near_steps),
        actuator=actuator,
        planner=_planner(run, kept, knowledge),
        knowledge=knowledge,
        captioner=run.captioner if run.near_as == "captions" else "none",
        planning_model=make_advisor(cards[0], memory.blobs, role) if cards[0] else None,
        captioning_model=make_advisor(cards[1], memory.blobs, LOOKING) if cards[1] else None,
        cancel=opening.cancel,
        approval=run.approval,
        on_uncertain=run.on_uncertain,
        sure_from=run.sure_from,
        perform=run.perform,
        max_clips=run.clips,
    )
    return Runtime(
        graph=build(deps).compile(checkpointer=memory.checkpointer()),
        initial=dict(initial_state(run.goal)),
        world=theatre,
        actuator=actuator,
        journal=opening.journal,
        cancel=opening.cancel,
        parse=parse_feedback,
        observing="observe",
        observed="recall",
    )


LOOP = Loop(
    name="surgery",
    summary="foresee what a surgeon does next, clip by clip of a video, and say why",
    config=SurgeryRun,
    prepare=prepare,
    open=open_runtime,
    parse=parse_feedback,
    redraw=redraw,
    sections=surgery_sections,
)
