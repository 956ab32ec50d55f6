"""The road, `loopwright/Drive-v0`: a drive through simulated traffic, half a second an act.

The simulated device (`loopwright.tools.simulated`) keeps what was driven, not the traffic: the drive is simulated again
from it wherever it is opened, to the same bit, and kept in the process so that going on costs nothing. One act changes
it: `drive`. It knows no planner and no human.
"""

import threading
from collections import OrderedDict
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, get_args

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from loopwright.errors import BadInput, ToolRefused, UnknownName
from loopwright.schema import Act, Frozen, Verdict
from loopwright.tools.device import State
from loopwright.tools.drive.envelope import check_envelope
from loopwright.tools.drive.scenarios import SCENARIO, SCENARIOS, SEEDS_A_PART, ScenarioName, seeds_of
from loopwright.tools.drive.scene import FUTURE_STEPS, HISTORY_STEPS, STEP_S, Camera, Command, Scene, Waypoints
from loopwright.tools.drive.simulator import Simulation
from loopwright.tools.drive.totals import Totals
from loopwright.tools.drive.views import CAMERA_PX, TOP_PX, Picture, camera_view, top_view
from loopwright.tools.simulated import SimulatedWorld

Observation = dict[str, Any]
View = Literal["top", Camera]
VIEWS: tuple[View, ...] = get_args(View)
ENV_ID = "loopwright/Drive-v0"
REACH_M = 150.0
"""More than a vehicle drives in 3 s."""
REWARD_CRASHED = -5.0
REWARD_UNCOMFORTABLE = -0.2
_COMMANDS: tuple[Command, ...] = get_args(Command)
_METADATA: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": round(1 / STEP_S)}
_DRIVEN = TypeAdapter(tuple[Waypoints, ...])


class Drive(Frozen):
    """Arguments of `drive`: the trajectory, of which the first half second is driven."""

    waypoints: Waypoints


class DriveWorld(SimulatedWorld[Observation, NDArray[np.float32]]):
    """A drive.

    Observation: each of `views` uint8 (height, width, 3); `ego` (speed, acceleration) m/s and m/s^2; `history` (5, 2)
    m, where the ego was 2.0, 1.5, ... 0 s ago; `command`, its number among straight, left, right. Action: (6, 2) m, the
    waypoints. A step drives for 0.5 s. Its reward is the progress along the route, 1 at cruising speed, less 0.2
    for an uncomfortable step; -5 for a crash, for leaving the road, and for waypoints outside the kinematic envelope.
    Each of these, and arriving, terminates; the scenario's time limit truncates. `info` has the `Totals` of the drive.
    """

    metadata = _METADATA

    def __init__(
        self,
        scenario: str = "highway",
        seed: int = 0,
        *,
        device: Path | None = None,
        views: tuple[View, ...] = ("top", "F"),
        render_mode: str | None = None,
    ) -> None:
        """Stand at a device that may have been used before.

        Args:
            scenario: one of `SCENARIOS`.
            seed: draws the traffic and the route.
            device: the device's file; an existing one keeps its state. None: it lives in this process.
            views: the pictures of an observation, and those that `look_at_road` keeps.
            render_mode: as gymnasium has it: None or "rgb_array".

        Raises:
            BadInput: there is no such drive, or the device is at another one.
            MissingDependency: highway-env is not installed.
            OperatorError: the device file cannot be used.
        """
        unknown = [view for view in views if view not in VIEWS]
        if unknown:
            raise UnknownName("view", unknown[0], VIEWS)
        self.scenario: ScenarioName = _known(scenario)
        self.seed = seed
        self.render_mode = render_mode
        self.views = views
        _ = _simulated(self.scenario, seed, ())  # says what is missing or wrong before a device is made
        super().__init__(device=device)
        _ = self.state  # refuses a device that is at another drive
        parts: dict[str, spaces.Space[Any]] = {
            **{view: spaces.Box(0, 255, _shape(view), np.uint8) for view in views},
            "ego": spaces.Box(-100.0, 100.0, (2,), np.float32),
            "history": spaces.Box(-REACH_M, REACH_M, (HISTORY_STEPS + 1, 2), np.float32),
            "command": spaces.Discrete(len(_COMMANDS)),
        }
        self.observation_space = spaces.Dict(parts)
        self.action_space = spaces.Box(-REACH_M, REACH_M, (FUTURE_STEPS, 2), np.float32)

    # The drive

    @property
    def state(self) -> State:
        """The state as it is now.

        Raises:
            BadInput: the device is at another drive.
        """
        return self._checked(super().state)

    @property
    def simulation(self) -> Simulation:
        """The drive as it stands now, to look at and to try things on: changes of it do not reach the world."""
        return self._simulation(self.state).copy()

    @property
    def scene(self) -> Scene:
        """The moment."""
        return self._simulation(self.state).scene()

    @property
    def totals(self) -> Totals:
        """What the drive came to so far."""
        return self._simulation(self.state).totals

    def picture(self, view: View = "top") -> Picture:
        """The moment from above or through a camera, (height, width, 3) uint8."""
        return _picture(self.scene, view)

    def taken(self, view: View) -> Picture | None:
        """What a camera gives at the moment; None where no picture comes, which happens to real ones."""
        return _picture(self._simulation(self.state).scene(), view)

    # The guard

    def check(self, act: Act) -> Verdict:
        """What a session's guard says of `act` now: the drive goes on, and the waypoints can be driven."""
        try:
            return self._judged(self.state, act)
        except ValidationError as error:
            return Verdict(
                ok=False, rule="arguments", reason=f"{error.error_count()} wrong: {error.errors()[0]['msg']}."
            )

    # The world

    def initial(self) -> State:
        """At the start of the drive."""
        return {"scenario": self.scenario, "seed": self.seed, "engine": _engine(), "driven": [], "ended": ""}

    def act(self, state: State, act: Act) -> tuple[State, dict[str, Any]]:
        """Do `drive` (`Drive`)."""
        verdict = self._judged(self._checked(state), act)
        if not verdict.ok:
            raise ToolRefused(f"{verdict.rule}: {verdict.reason}")
        driven = Drive.model_validate(act.arguments).model_dump(mode="json")["waypoints"]
        after = {**state, "driven": [*state["driven"], driven]}
        simulation = self._simulation(after)
        return {**after, "ended": simulation.ended}, simulation.totals.model_dump(mode="json")

    def observe(self, state: State) -> Observation:
        """See the class."""
        scene = self._simulation(state).scene()
        return {
            **{view: _picture(scene, view) for view in self.views},
            "ego": np.array([scene.speed_mps, scene.acceleration_mps2], dtype=np.float32),
            "history": np.array(scene.history, dtype=np.float32),
            "command": np.int64(_COMMANDS.index(scene.command)),
        }

    def restored(self, state: State, snapshot: State) -> State:
        """At `snapshot` again.

        Raises:
            BadInput: it is no snapshot of this drive.
        """
        is_ours = snapshot.keys() == state.keys() and _same_drive(snapshot, state)
        try:
            if is_ours and self._simulation(snapshot).ended == snapshot["ended"]:
                return snapshot
        except (BadInput, ValidationError):
            pass
        raise BadInput(f"`snapshot` {snapshot!r:.200} is not of {self._name}, as `snapshot()` returns it.")

    # gymnasium

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Observation, State]:
        """To the start of another drive. Applied keys stay applied.

        Args:
            seed: of the draw of a training drive, which goes on where it is None.
            options: `seed`, the drive itself; `scenario`, another road.

        Raises:
            BadInput: there is no such drive.
        """
        gym.Env.reset(self, seed=seed)
        options = options or {}
        scenario = _known(options.get("scenario", self.scenario))
        drives = seeds_of("train", SEEDS_A_PART)
        chosen = int(options.get("seed", drives[int(self.np_random.integers(len(drives)))]))
        _ = _simulated(scenario, chosen, ())
        self.scenario, self.seed = scenario, chosen
        self.begin(self.initial())
        return self.observe(super().state), self._info()

    def step(self, action: NDArray[np.float32]) -> tuple[Observation, float, bool, bool, State]:
        """Drive for half a second. See the class."""
        before = self.totals
        outcome = self.perform(Act(tool="drive", arguments={"waypoints": np.asarray(action, dtype=float).tolist()}))
        if outcome.status != "done":
            return self.observe(self.state), REWARD_CRASHED, True, False, {**self._info(), "refused": outcome.reason}
        after = self.totals
        is_over = bool(after.ended) and after.ended != "time"
        return self.observe(self.state), self._reward(before, after), is_over, after.ended == "time", self._info()

    def render(self) -> NDArray[np.uint8] | None:
        """The view from above, where `render_mode` is "rgb_array"."""
        return self.picture() if self.render_mode == "rgb_array" else None

    # Inside

    @property
    def _name(self) -> str:
        return f"{self.scenario} {self.seed}"

    def _reward(self, before: Totals, after: Totals) -> float:
        if after.collisions or after.off_road:
            return REWARD_CRASHED
        progress = (after.progress_m - before.progress_m) / (SCENARIO[self.scenario].cruise_mps * STEP_S)
        return progress + REWARD_UNCOMFORTABLE * (after.uncomfortable_steps - before.uncomfortable_steps)

    def _judged(self, state: State, act: Act) -> Verdict:
        if act.tool != "drive":
            raise UnknownName("act", act.tool, ["drive"])
        if state["ended"]:
            return Verdict(ok=False, rule="ended", reason=f"the drive is over: {state['ended']}.")
        waypoints = Drive.model_validate(act.arguments).waypoints
        return check_envelope(waypoints, self._simulation(state).speed_mps)

    def _simulation(self, state: State) -> Simulation:
        return _simulated(state["scenario"], state["seed"], _DRIVEN.validate_python(state["driven"]))

    def _checked(self, state: State) -> State:
        if not _same_drive(state, {"scenario": self.scenario, "seed": self.seed}):
            raise BadInput(
                f"The device `{self.device}` is at {state.get('scenario')} {state.get('seed')}, not at {self._name}. "
                "Open that drive, or use another device."
            )
        if state["engine"] != _engine():
            raise BadInput(
                f"The drive of the device `{self.device}` was simulated by {state['engine']}, this is {_engine()}, in "
                "which it would go otherwise. Install that version, or use another device."
            )
        return state

    def _info(self) -> dict[str, Any]:
        return {"scenario": self.scenario, "seed": self.seed, **self.totals.model_dump(mode="json")}


def _same_drive(a: State, b: State) -> bool:
    return (a.get("scenario"), a.get("seed")) == (b["scenario"], b["seed"])


def _known(scenario: str) -> ScenarioName:
    for name in SCENARIOS:
        if name == scenario:
            return name
    raise UnknownName("scenario", scenario, SCENARIOS)


@cache
def _engine() -> str:
    return f"highway-env {version('highway-env')}"


def _shape(view: View) -> tuple[int, int, int]:
    return (TOP_PX, TOP_PX, 3) if view == "top" else (CAMERA_PX[1], CAMERA_PX[0], 3)


def _picture(scene: Scene, view: View) -> Picture:
    return top_view(scene) if view == "top" else camera_view(scene, view)


_KEPT: OrderedDict[tuple[str, int, tuple[Waypoints, ...]], Simulation] = OrderedDict()
_KEEP = 512
"""Drives in memory, about 50 kB each."""
_LOCK = threading.Lock()


def _simulated(scenario: str, seed: int, driven: tuple[Waypoints, ...]) -> Simulation:
    """The drive after `driven`, simulated on from what of it is kept. To look at: copy it before it goes on.

    Raises:
        BadInput: the drive had ended before.
    """
    with _LOCK:
        kept = next((n for n in range(len(driven), -1, -1) if (scenario, seed, driven[:n]) in _KEPT), None)
        known = None if kept is None else _KEPT[scenario, seed, driven[:kept]]
        if kept is not None:
            _KEPT.move_to_end((scenario, seed, driven[:kept]))
    if known is not None and kept == len(driven):
        return known
    simulation = Simulation(scenario, seed) if known is None else known.copy()
    for waypoints in driven[kept or 0 :]:
        simulation.follow(waypoints)
    with _LOCK:
        _KEPT[scenario, seed, driven] = simulation
        while len(_KEPT) > _KEEP:
            _KEPT.popitem(last=False)
    return simulation


gym.register(id=ENV_ID, entry_point=f"{__name__}:DriveWorld")
