"""A run of the drive loop: its configuration, checked against the real drive, its world and its models."""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, FiniteFloat, field_validator

from loopwright.errors import BadInput
from loopwright.graphs.loop.config import RunConfig
from loopwright.graphs.loop.declare import Role
from loopwright.tools.drive.futures import HORIZONS_S
from loopwright.tools.drive.predictor import ShortTermPredictor
from loopwright.tools.drive.scenarios import SCENARIO, ScenarioName
from loopwright.tools.drive.sensing import FaultyDrive, read_faults
from loopwright.tools.drive.views import CAMERAS
from loopwright.tools.drive.world import DriveWorld, View

DRIVER = "driver"
ADAPTER = "drive"
"""The adapter that drives, where a card has it; else the base answers."""
PlannerName = Literal["rule", "model"]
ShownAs = Literal["tokens", "pictures", "none"]
ImagineName = Literal["none", "constant-velocity", "oracle", "model"]


class DriveRun(RunConfig):
    """One run of the drive loop."""

    scenario: ScenarioName = Field(default="highway", description="the road, one of highway-env's")
    seed: int = Field(default=0, ge=0, description="draws the traffic and the route")
    steps: int = Field(default=80, ge=1, le=1000, description="steps of 0.5 s after which it ends, if not before")
    planner: PlannerName = Field(
        default="rule", description="who proposes trajectories: rules that rate candidates, or a model"
    )
    imagine: ImagineName = Field(
        default="constant-velocity",
        description="who imagines the frames to come: nobody (the present stays), the others' present velocity, the "
        "simulator itself (an upper bound), or a model",
    )
    candidates: int = Field(
        default=1, ge=1, le=20, description="trajectories that are imagined, each its own future; 1: the expected one"
    )
    horizon_s: FiniteFloat = Field(
        default=1.5, description="of the frame that a model imagines, and of the pictures that are kept, s"
    )
    verifier: Literal["constant-velocity", "imagined"] = Field(
        default="constant-velocity",
        description="where the verifier takes the others to be: going on as they are now, or as imagined",
    )
    repairs: int = Field(default=2, ge=0, le=10, description="times that a rejected trajectory is thought over")
    model: str = Field(default="small", description="name or path of the model card that drives and imagines")
    cameras: tuple[str, ...] = Field(
        default=(), description=f"pictures beside the view from above, of {', '.join(CAMERAS)}"
    )
    shown: ShownAs = Field(
        default="tokens",
        description="how a model is shown the road: as tokens of the image tokenizer, as pictures, or not at all",
    )
    told: bool = Field(default=True, description="name the nearest road users to the model in words")
    weight: FiniteFloat = Field(
        default=0.5, ge=0, le=1, description="of the command in the short-term prediction, the paper's lambda"
    )
    faults: tuple[str, ...] = Field(
        default=(), description="sensor faults to rehearse, KIND@STEP: camera, pose, ego or gap"
    )

    @field_validator("cameras")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := [name for name in value if name not in CAMERAS]:
            raise ValueError(f"{unknown[0]!r} is no camera; expected some of {', '.join(CAMERAS)}")
        return value

    @field_validator("horizon_s")
    @classmethod
    def _a_step(cls, value: float) -> float:
        if value not in HORIZONS_S:
            raise ValueError(f"expected one of {', '.join(f'{s:g}' for s in HORIZONS_S)}")
        return value

    @property
    def asks_model(self) -> bool:
        """Whether a model is asked for anything."""
        return self.planner == "model" or self.imagine == "model"

    @property
    def shown_frame(self) -> int:
        """Number of the frame at `horizon_s`."""
        return HORIZONS_S.index(self.horizon_s) + 1

    @property
    def predictor(self) -> ShortTermPredictor:
        """Of the ego's own motion."""
        return ShortTermPredictor(weight=self.weight)


def roles_of(run: DriveRun) -> dict[str, Role]:
    """The models that a run asks."""
    return {DRIVER: Role(card=run.model, adapter=ADAPTER)} if run.asks_model else {}


def prepare(run: DriveRun) -> dict[str, Any]:
    """Check a run against the real drive; what the session keeps: how fast the road is driven, and how long.

    Raises:
        BadInput: an option would not be read, or names nothing.
        MissingDependency: highway-env is not installed.
    """
    read_faults(run.faults)
    if run.shown == "none" and not run.told:
        raise BadInput("`shown` 'none' and `told` False leave the model nothing to go by. Set one of them.")
    if run.candidates > 1 and run.imagine == "none":
        raise BadInput(f"`candidates` {run.candidates} are not imagined by `imagine` 'none'. Leave one of them out.")
    if run.candidates > 1 and run.planner == "model":
        raise BadInput(
            f"`candidates` {run.candidates} are chosen among by rules. Add `--planner rule`, or leave it out."
        )
    _ = DriveWorld(run.scenario, run.seed)  # says what is missing, before the session begins
    road = SCENARIO[run.scenario]
    return {"cruise_mps": road.cruise_mps, "limit_s": road.limit_s}


def open_world(run: DriveRun, _: dict[str, Any], device: Path) -> DriveWorld:
    """The run's drive."""
    views: tuple[View, ...] = ("top", *(camera for camera in CAMERAS if camera in run.cameras))
    if run.faults:
        return FaultyDrive(run.scenario, run.seed, faults=run.faults, device=device, views=views)
    return DriveWorld(run.scenario, run.seed, device=device, views=views)
