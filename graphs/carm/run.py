"""A run of the C-arm loop: its configuration, checked against the real volume, and its world."""

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, FiniteFloat, field_validator

from loopwright.agents.carm.formats import Ladder
from loopwright.errors import BadInput
from loopwright.graphs.loop.config import RunConfig
from loopwright.models.conformal import COVERAGES
from loopwright.settings import CArmSettings, settings
from loopwright.tools.carm.case import Case
from loopwright.tools.carm.geometry import Optics, Pose
from loopwright.tools.carm.guard import MotionLimits
from loopwright.tools.carm.landmarks import canonical_name
from loopwright.tools.carm.render import Renderer, make_renderer, to_uint8
from loopwright.tools.carm.sources import open_case
from loopwright.tools.carm.world import CArmWorld, optics_of

if TYPE_CHECKING:
    from loopwright.models.networks.carm import CArmLocaliser

LocaliserName = Literal["network", "vlm", "hybrid"]
NavigatorName = Literal["atlas", "vlm", "vlm-unaided"]


class CArmRun(RunConfig):
    """One run of the C-arm loop."""

    volume: str = Field(description="a NIfTI file, a DICOM folder, `phantom:SEED`, `stranger:KIND:SEED` or `chest`")
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

    recall: bool = Field(
        default=False, description="begin with what clinicians identified in earlier sessions over the same volume"
    )

    @field_validator("target", mode="before")
    @classmethod
    def _canonical_targets(cls, value: Any) -> Any:
        return tuple(canonical_name(name) for name in value)

    @field_validator("coverage")
    @classmethod
    def _calibrated(cls, value: float) -> float:
        if value not in COVERAGES:
            raise ValueError(f"sets are calibrated for {', '.join(f'{one:.2f}' for one in COVERAGES)}")
        return value

    @field_validator("ladder")
    @classmethod
    def _rising(cls, value: tuple[float, float, float]) -> tuple[float, float, float]:
        Ladder.of(value)
        return value

    @field_validator("volume", mode="before")
    @classmethod
    def _absolute_volume(cls, value: Any) -> Any:
        return str(Path(value).resolve()) if isinstance(value, str) and Path(value).exists() else value


def prepare(run: CArmRun) -> dict[str, Any]:
    """Check a run against the real volume; what the session keeps: settings, limits, start pose, known landmarks.

    Raises:
        BadInput: the volume, a landmark or the start pose will not do.
    """
    case, world = opened_case(run.volume, run.landmarks), settings().carm
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
        "volume": case.volume.sha256,
        "settings": world.model_dump(mode="json"),
        "field_of_view_mm": optics_of(world).field_of_view_mm,
        "limits": limits.model_dump(mode="json"),
        "start": start.model_dump(mode="json"),
        "landmarks": {name: [float(v) for v in point] for name, point in case.landmarks.items()},
    }


def initial(run: CArmRun, prepared: dict[str, Any]) -> dict[str, Any]:
    """The state before the first exposure, where it depends on the run."""
    return {"goals": list(run.target), "limits": prepared["limits"]}


def open_world(run: CArmRun, prepared: dict[str, Any], device: Path) -> CArmWorld:
    """The C-arm over the run's volume."""
    world = CArmSettings.model_validate(prepared["settings"])
    return CArmWorld(
        opened_case(run.volume, run.landmarks),
        device=device,
        start=Pose.model_validate(prepared["start"]),
        settings=world,
        renderer=_renderer(run, world),
    )


def redraw(run: CArmRun, prepared: dict[str, Any]) -> Callable[[dict[str, Any]], NDArray[np.uint8]]:
    """A function from an exposure's JSON to its picture, (N, N) uint8, drawn anew at the recorded pose."""
    world = CArmSettings.model_validate(prepared["settings"])
    renderer = _renderer(run, world)

    def draw(exposure: dict[str, Any]) -> NDArray[np.uint8]:
        return to_uint8(renderer.render(Pose.model_validate(exposure["pose"]), world.image_size_px))

    return draw


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
def carm_network() -> "CArmLocaliser":
    """The bundled network, loaded when it is first asked."""
    from loopwright.models.load_lock import MODEL_LOAD_LOCK

    with MODEL_LOAD_LOCK:  # sessions that begin together wait for one network, and do not each load it
        return _kept_network()


@lru_cache(maxsize=1)
def _kept_network() -> "CArmLocaliser":
    from loopwright.models.networks.carm import load_carm_network  # torch: seconds that only a run has to spend

    return load_carm_network()
