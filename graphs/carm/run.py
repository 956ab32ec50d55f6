"""Running the C-arm loop: its configuration, and how a session gets its volume, world, localiser and guard."""

import io
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field, FiniteFloat, field_validator

from loopwright.agents.carm.feedback import parse_feedback
from loopwright.agents.carm.formats import Ladder
from loopwright.agents.hearing import Ear
from loopwright.agents.session import Runtime
from loopwright.errors import BadInput, ToolRefused
from loopwright.graphs.advisors import checked_card, make_advisor
from loopwright.graphs.carm.nodes import CArmDeps, CArmState, build, initial_state
from loopwright.graphs.carm.report import carm_sections
from loopwright.graphs.carm.roles import ADAPTER, LocaliserName, NavigatorName, make_localiser, make_navigator
from loopwright.graphs.late_world import LateWorld
from loopwright.graphs.state import Loop, Opening, RunConfig
from loopwright.memory import Memory
from loopwright.models.networks.localisation import Localisation
from loopwright.schema import Act, ImageRef
from loopwright.settings import CArmSettings, settings
from loopwright.tools.actuate import Actuator
from loopwright.tools.carm.case import Case
from loopwright.tools.carm.geometry import Optics, Pose
from loopwright.tools.carm.guard import MotionLimits
from loopwright.tools.carm.landmarks import canonical_name
from loopwright.tools.carm.render import Renderer, make_renderer, to_uint8
from loopwright.tools.carm.sources import open_case
from loopwright.tools.carm.world import CArmWorld, optics_of
from loopwright.tools.pictures import keep_picture

if TYPE_CHECKING:
    from loopwright.models.networks.carm import CArmLocaliser


class CArmRun(RunConfig):
    """One run of the C-arm loop."""

    volume: str = Field(description="a NIfTI file, a DICOM folder, `phantom:SEED` or `chest`")
    landmarks: Path | None = Field(default=None, description="JSON or CSV file of landmark positions")
    start: str = Field(description="a landmark, or a pose X,Y,Z[,ALPHA,BETA] in mm and degrees of the patient frame")
    target: tuple[str, ...] = Field(min_length=1, description="landmark to centre; repeat it for several in turn")
    localiser: LocaliserName = Field(
        default="network", description="who says what a picture shows: the network, a model, or both pooled"
    )
    navigator: NavigatorName = Field(
        default="atlas",
        description="who proposes motions: the atlas, a model that is told the estimate, or one by itself",
    )
    model: str = Field(default="small", description="name or path of the model card for `vlm` and `hybrid`")
    ladder: tuple[float, float, float] = Field(
        default=(15.0, 50.0, 150.0), description="SMALL, MODERATE and LARGE steps of a model that steers, in mm"
    )
    coverage: float = Field(default=0.95, description="coverage of the conformal sets: 0.90, 0.95 or 0.97")
    max_set_size: int = Field(default=4, ge=1, description="a conformal set larger than this counts as uncertain")
    arrival_radius_mm: FiniteFloat = Field(
        default=7.5, gt=0, description="the target counts as centred within this, mm"
    )
    max_arrival_sd_mm: FiniteFloat = Field(
        default=40.0, gt=0, description="a target whose place is less sure than this does not count as centred, mm"
    )

    @field_validator("target", mode="before")
    @classmethod
    def _canonical_targets(cls, value: Any) -> Any:
        return tuple(canonical_name(name) for name in value)

    @field_validator("ladder")
    @classmethod
    def _rising(cls, value: tuple[float, float, float]) -> tuple[float, float, float]:
        Ladder.of(value)
        return value

    @field_validator("volume", mode="before")
    @classmethod
    def _absolute_volume(cls, value: Any) -> Any:
        return str(Path(value).resolve()) if isinstance(value, str) and Path(value).exists() else value

    @property
    def needs_model(self) -> bool:
        """Whether anybody in this run asks a model."""
        return self.localiser != "network" or self.navigator != "atlas"


_BEFORE = {"max_arrival_sd_mm": 1e6}
"""What runs did before they had a setting for it, so that their records replay."""


def prepare(config: RunConfig) -> dict[str, Any]:
    """Check a run against the real volume and model; what the session keeps: run, settings, limits, start pose, card.

    Raises:
        BadInput: the volume, a landmark, the start pose or the model will not do.
    """
    run = CArmRun.model_validate(config)
    case = opened_case(run.volume, run.landmarks)
    world = settings().carm
    for name in run.target:
        if case.landmarks and name not in case.landmarks:
            raise BadInput(
                f"`target` {name!r} lies outside the volume {case.name!r}. It holds: {', '.join(case.landmarks)}."
            )
    start = start_pose(run.start, case)
    limits = MotionLimits.of(world, case.volume)
    verdict = limits.check_pose(start)
    if not verdict.ok:
        raise BadInput(f"`start` {run.start!r} is refused by the {verdict.rule} rule: {verdict.reason}")
    return {
        "run": run.model_dump(mode="json"),
        "settings": world.model_dump(mode="json"),
        "limits": limits.model_dump(mode="json"),
        "start": start.model_dump(mode="json"),
        "landmarks": {name: [float(v) for v in point] for name, point in case.landmarks.items()},
        "card": checked_card(run.model) if run.needs_model else None,
    }


def start_pose(text: str, case: Case) -> Pose:
    """The pose that `text` names: numbers, or one of the case's landmarks at mid-coronal depth."""
    parts = text.split(",")
    if len(parts) in (3, 5):
        try:
            numbers = [float(p) for p in parts]
        except ValueError:
            pass
        else:
            return Pose.model_validate(dict(zip(Pose.model_fields, numbers, strict=False)))
    name = canonical_name(text)
    if name not in case.landmarks:
        known = ", ".join(case.landmarks) or "none: pass --landmarks FILE, or a pose X,Y,Z"
        raise BadInput(f"`start` {text!r} is not among the landmarks of {case.name!r}. It holds: {known}.")
    x_mm, _, z_mm = case.landmarks[name]
    return Pose(x_mm=float(x_mm), y_mm=case.volume.mid_coronal_y_mm, z_mm=float(z_mm))


@lru_cache(maxsize=2)
def opened_case(volume: str, landmarks: Path | None) -> Case:
    """A volume with its landmarks, kept for the next session over the same patient."""
    return open_case(volume, landmarks)


def _renderer(run: CArmRun, world: CArmSettings) -> Renderer:
    return _kept_renderer(run.volume, run.landmarks, world.renderer, optics_of(world).model_dump_json())


@lru_cache(maxsize=2)
def _kept_renderer(volume: str, landmarks: Path | None, name: str, optics_json: str) -> Renderer:
    return make_renderer(name, opened_case(volume, landmarks).volume, Optics.model_validate_json(optics_json))


@lru_cache(maxsize=1)  # so that whoever has it does not wait for another model that is being made
def _network() -> "CArmLocaliser":
    from loopwright.models.load_lock import MODEL_LOAD_LOCK

    with MODEL_LOAD_LOCK:  # sessions that begin together wait for one network, and do not each load it
        return _kept_network()


@lru_cache(maxsize=1)
def _kept_network() -> "CArmLocaliser":
    from loopwright.models.networks.carm import load_carm_network  # torch: seconds that only a run has to spend

    return load_carm_network()


def redraw(kept: dict[str, Any]) -> Callable[[dict[str, Any]], NDArray[np.uint8]]:
    """A function from an observation's JSON to its picture, (N, N) uint8, drawn anew at the recorded pose."""
    run, world = CArmRun.model_validate(kept["run"]), CArmSettings.model_validate(kept["settings"])
    renderer = _renderer(run, world)

    def draw(observation: dict[str, Any]) -> NDArray[np.uint8]:
        return to_uint8(renderer.render(Pose.model_validate(observation["pose"]), world.image_size_px))

    return draw


class _Patient(LateWorld[CArmWorld]):
    """The world of a run, opened when first needed: a replay needs neither volume nor network."""

    def __init__(self, kept: dict[str, Any], opening: Opening) -> None:
        self.run = CArmRun.model_validate(_BEFORE | kept["run"])
        self.settings = CArmSettings.model_validate(kept["settings"])
        self._start = Pose.model_validate(kept["start"])
        self._opening = opening

    def open(self) -> CArmWorld:
        device = self._opening.device_dir / f"{self._opening.session_id}.sqlite"
        case = opened_case(self.run.volume, self.run.landmarks)
        renderer = _renderer(self.run, self.settings)
        return CArmWorld(case, device=device, start=self._start, settings=self.settings, renderer=renderer)

    def localise(self, image: NDArray[np.uint8]) -> Localisation:
        return _network().localise(image, self.run.coverage)


class _Camera:
    """Exposes through the ledger, keeps the picture in the memory."""

    def __init__(self, patient: _Patient, actuator: Actuator, memory: Memory, session_id: str) -> None:
        self._patient, self._actuator, self._memory, self._session_id = patient, actuator, memory, session_id

    def expose(self, key: str, step: int) -> dict[str, Any]:
        outcome = self._actuator.act_anew(key, Act(tool="take_exposure"), step=step, by="guard")
        if outcome.status != "done":
            raise ToolRefused(f"`take_exposure` was refused: {outcome.reason}")
        world = self._patient.world
        image = world.image()
        ref = keep_picture(self._memory, self._session_id, image)
        return {
            "pose": world.pose.model_dump(mode="json"),
            "exposures": world.exposures,
            "image": ref.model_dump(mode="json"),
            "snapshot": world.snapshot(),
        }

    def picture(self, ref: ImageRef) -> NDArray[np.uint8]:
        return np.array(Image.open(io.BytesIO(self._memory.blobs.read(ref))))


def open_runtime(kept: dict[str, Any], opening: Opening) -> Runtime:
    """The loop's runtime for one session, from what `prepare` returned."""
    patient = _Patient(kept, opening)
    memory, journal = opening.memory, opening.journal
    actuator = Actuator(patient, memory.ledger, opening.session_id, opening.cancel)

    def record(state: CArmState) -> None:
        seen = Localisation.model_validate(state["localisation"])
        nearest, goal = seen.ranking[0], (state["goals"] or state["reached"][-1:])[0]
        memory.steps.record(
            opening.session_id,
            state["branch"],
            state["step"],
            label=nearest,
            signature=f"{nearest} -> {goal}",
            detail={
                "pose": state["observation"]["pose"],
                "image": state["observation"]["image"],
                "decision": state["decision"],
            },
        )

    camera = _Camera(patient, actuator, memory, opening.session_id)
    view_mm = optics_of(patient.settings).field_of_view_mm
    advisor = make_advisor(kept["card"], memory.blobs, ADAPTER) if kept.get("card") else None
    localiser = make_localiser(
        patient.run.localiser,
        lambda ref: patient.localise(camera.picture(ref)),
        field_of_view_mm=view_mm,
        coverage=patient.run.coverage,
        advisor=advisor,
    )
    deps = CArmDeps(
        journal=journal,
        ear=Ear(memory, journal, parse_feedback, waits=patient.run.on_uncertain == "ask"),
        camera=camera,
        actuator=actuator,
        localiser=localiser,
        navigator=make_navigator(patient.run.navigator, Ladder.of(patient.run.ladder)),
        advisor=advisor,
        cancel=opening.cancel,
        limits=MotionLimits.model_validate(kept["limits"]),
        recorder=record,
        approval=patient.run.approval,
        on_uncertain=patient.run.on_uncertain,
        max_set_size=patient.run.max_set_size,
        field_of_view_mm=view_mm,
        arrival_radius_mm=patient.run.arrival_radius_mm,
        max_arrival_sd_mm=patient.run.max_arrival_sd_mm,
    )
    return Runtime(
        graph=build(deps).compile(checkpointer=memory.checkpointer()),
        initial=dict(initial_state(patient.run.target)),
        world=patient,
        actuator=actuator,
        journal=journal,
        cancel=opening.cancel,
        parse=parse_feedback,
    )


LOOP = Loop(
    name="carm",
    summary="steer a C-arm over a CT to the anatomy that was asked for",
    config=CArmRun,
    prepare=prepare,
    open=open_runtime,
    parse=parse_feedback,
    redraw=redraw,
    sections=carm_sections,
)
