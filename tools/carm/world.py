"""The C-arm world: a simulated C-arm over a CT, `loopwright/CArm-v0`.

Its pose and exposure count live on a simulated device (`loopwright.tools.simulated`). Two acts change it:
`move_c_arm` and `take_exposure`. Like a device, and unlike the guard that stands before it, it refuses only what it
cannot or must not do: it knows no goal, no track and no human.
"""

from functools import cached_property
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from pydantic import ValidationError

from loopwright.errors import BadInput, ToolRefused, UnknownName
from loopwright.schema import Act, Verdict
from loopwright.settings import CArmSettings, settings
from loopwright.tools.carm.case import Case
from loopwright.tools.carm.geometry import Optics, Pose, in_plane_offset_mm
from loopwright.tools.carm.guard import Motion, MotionLimits
from loopwright.tools.carm.landmarks import Array, canonical_name
from loopwright.tools.carm.render import Renderer, make_renderer, to_uint8
from loopwright.tools.carm.sources import open_case
from loopwright.tools.device import State
from loopwright.tools.simulated import SimulatedWorld

Observation = dict[str, Any]
ENV_ID = "loopwright/CArm-v0"
_METADATA: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 4}
ACTS = ("move_c_arm", "take_exposure")
_EXPOSE = Act(tool="take_exposure")


class CArmWorld(SimulatedWorld[Observation, Array]):
    """A C-arm over one case.

    Observation: `image` uint8 (N, N), `pose` float64 (5,) = x, y, z mm in `_world`, alpha, beta degrees, and
    `exposures`. Action, float64 (5,): `left_mm, caudal_mm, anterior_mm, alpha_deg, beta_deg`, moving the *view*; a step
    is that motion and an exposure. A refused motion takes no exposure and says why in `info["refused"]`.

    With a target, the reward is by how many mm the step brought the view nearer to it (its distance to the central
    ray), and the episode terminates within `success_radius_mm`; it is truncated when the exposure budget is spent.
    """

    metadata = _METADATA
    counters = ("exposures",)

    def __init__(
        self,
        case: Case | str = "chest",
        *,
        device: Path | None = None,
        start: Pose | None = None,
        target: str | None = None,
        settings: CArmSettings | None = None,
        renderer: Renderer | None = None,
        render_mode: str | None = None,
    ) -> None:
        """Stand at a device that may have been used before.

        Args:
            case: the patient, or what `open_case` opens.
            device: the device's file; an existing one keeps its state. None: it lives in this process.
            start: where a new device stands; None is the volume's centre at mid-coronal depth.
            target: landmark that reward and termination are about; None gives neither.
            settings: optics, envelope and limits; None is the process's settings.
            renderer: draws the pictures; None makes the one that the settings name when it is first needed.
            render_mode: as gymnasium has it: None or "rgb_array".

        Raises:
            BadInput: `start` lies outside the envelope, `target` is not in the case, or the optics are impossible.
            OperatorError: the device file cannot be used.
        """
        self.case = open_case(case) if isinstance(case, str) else case
        self.settings = settings or _process_settings()
        self.optics = optics_of(self.settings)
        self.limits = MotionLimits.of(self.settings, self.case.volume)
        self.target = self._known(target)
        self.render_mode = render_mode
        self._own_renderer = renderer
        self._start = self._allowed(start or self._centre())
        super().__init__(device=device)
        self._last_image: tuple[Pose, NDArray[np.uint8]] | None = None
        self._define_spaces()

    # The device

    @property
    def pose(self) -> Pose:
        """Where the C-arm stands now."""
        return _pose(self.state)

    @property
    def exposures(self) -> int:
        """Taken since the device was made or reset. Nothing brings radiation back, `restore` included."""
        return int(self.state["exposures"])

    def image(self) -> NDArray[np.uint8]:
        """Last image hold: the picture at the last exposure's pose, (N, N) uint8. No radiation.

        Raises:
            BadInput: no exposure was taken yet.
            MissingDependency: the renderer is not there.
        """
        return self._image(self.state)

    @cached_property
    def renderer(self) -> Renderer:
        """What draws the pictures, made when first asked for."""
        return self._own_renderer or make_renderer(self.settings.renderer, self.case.volume, self.optics)

    # The guard

    def check(self, act: Act) -> Verdict:
        """What a session's guard says of `act` now: the device's own rules, and no motion after the last exposure."""
        match act.tool:
            case "move_c_arm":
                state = self.state
                step = self.limits.check_step(Motion.model_validate(act.arguments), _pose(state))
                return step if not step.ok else self.limits.check_exposure(state["exposures"])
            case "take_exposure":
                return self.limits.check_exposure(self.exposures)
        raise UnknownName("act", act.tool, ACTS)

    def spent(self) -> dict[str, float]:
        """What a session's budget may limit."""
        return {"exposures": self.exposures}

    # The world

    def initial(self) -> State:
        """At the start pose, with no exposure taken."""
        return _state(self._start, exposures=0, exposed=None)

    def act(self, state: State, act: Act) -> tuple[State, dict[str, Any]]:
        """Do `move_c_arm` (the five numbers of `Motion`) or `take_exposure`."""
        match act.tool:
            case "move_c_arm":
                motion, pose = Motion.model_validate(act.arguments), _pose(state)
                _refuse(self.limits.check_step(motion, pose))
                after = {**state, "pose": motion.applied_to(pose).model_dump()}
            case "take_exposure":
                if act.arguments:
                    raise ToolRefused("arguments: `take_exposure` takes no arguments.")
                _refuse(self.limits.check_exposure(state["exposures"]))
                after = {**state, "exposures": state["exposures"] + 1, "exposed": state["pose"]}
            case _:
                raise UnknownName("act", act.tool, ACTS)
        return after, {"pose": after["pose"], "exposures": after["exposures"]}

    def observe(self, state: State) -> Observation:
        """See the class."""
        pose = np.array([state["pose"][name] for name in Pose.model_fields], dtype=np.float64)
        return {"image": self._image(state), "pose": pose, "exposures": np.int64(state["exposures"])}

    def snapshot_of(self, state: State) -> State:
        """Pose and last image hold."""
        return {"pose": state["pose"], "exposed": state["exposed"]}

    def restored(self, state: State, snapshot: State) -> State:
        """At `snapshot` again; exposures stay counted.

        Raises:
            BadInput: it is no snapshot of a C-arm, or its pose lies outside the envelope.
        """
        try:
            pose, exposed = Pose.model_validate(snapshot["pose"]), snapshot["exposed"]
            held = None if exposed is None else Pose.model_validate(exposed)
        except (KeyError, TypeError, ValidationError) as error:
            raise BadInput(f"`snapshot` {snapshot!r} is not what `CArmWorld.snapshot` returns: {error}.") from error
        return _state(self._allowed(pose), exposures=state["exposures"], exposed=held)

    # gymnasium

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Observation, State]:
        """A new patient on the table: start pose, exposures counted from the start image. Applied keys stay applied.

        Args:
            seed: of the random start.
            options: `start`, a `Pose` or a landmark's name (else uniform over the volume in the coronal plane, AP
                view, at mid-coronal depth); `target`, a landmark's name (else as before).

        Raises:
            BadInput: the start lies outside the envelope, or a landmark is not in the case.
        """
        gym.Env.reset(self, seed=seed)
        options = options or {}
        start, target = options.get("start"), options.get("target", self.target)
        self.target = self._known(target)
        if isinstance(start, str):
            start = self.pose_over(start)
        pose = self._allowed(start or self._random_start())
        self.begin(_state(pose, exposures=0, exposed=None))
        self.perform(_EXPOSE)
        return self.observe(self.state), self._info()

    def step(self, action: Array) -> tuple[Observation, float, bool, bool, State]:
        """Move the view by `action` and take an exposure. See the class."""
        before = self.distance_mm()
        outcome = self.perform(Act(tool="move_c_arm", arguments=_arguments(action)), _EXPOSE)
        after = self.distance_mm()
        reward = 0.0 if before is None or after is None else before - after
        reached = after is not None and after <= self.settings.success_radius_mm
        spent = self.exposures >= self.limits.max_exposures
        info = self._info() if outcome.status == "done" else {**self._info(), "refused": outcome.reason}
        return self.observe(self.state), reward, reached, spent, info

    def render(self) -> NDArray[np.uint8] | None:
        """The last image as (N, N, 3), where `render_mode` is "rgb_array"."""
        return np.repeat(self.image()[..., None], 3, axis=2) if self.render_mode == "rgb_array" else None

    # Where things are

    def pose_over(self, landmark: str) -> Pose:
        """The AP view centred on a landmark, at mid-coronal depth.

        Raises:
            BadInput: the case does not hold it.
        """
        x_mm, _, z_mm = self.case.landmarks[str(self._known(landmark))]
        return Pose(x_mm=float(x_mm), y_mm=self.case.volume.mid_coronal_y_mm, z_mm=float(z_mm))

    def distance_mm(self) -> float | None:
        """From the target to the central ray, in the plane through the isocentre; None without a target."""
        if self.target is None:
            return None
        return float(np.linalg.norm(in_plane_offset_mm(self.case.landmarks[self.target], self.pose)))

    def _define_spaces(self) -> None:
        size, limits = self.settings.image_size_px, self.limits
        ranges = [*zip(limits.low_world, limits.high_world, strict=True), limits.alpha_range_deg, limits.beta_range_deg]
        low, high = np.array(ranges, dtype=np.float64).T
        reach = np.array([limits.max_step_mm] * 3 + [limits.max_step_deg] * 2)
        self.observation_space = spaces.Dict(
            {
                "image": spaces.Box(0, 255, (size, size), np.uint8),
                "pose": spaces.Box(low, high, dtype=np.float64),
                "exposures": spaces.Discrete(limits.max_exposures + 1),
            }
        )
        self.action_space = spaces.Box(-reach, reach, dtype=np.float64)

    def _image(self, state: State) -> NDArray[np.uint8]:
        if state["exposed"] is None:
            raise BadInput("There is no image: no exposure was taken yet. Send `take_exposure` first.")
        pose = Pose.model_validate(state["exposed"])
        if self._last_image is None or self._last_image[0] != pose:
            self._last_image = pose, to_uint8(self.renderer.render(pose, self.settings.image_size_px))
        return self._last_image[1].copy()

    def _info(self) -> dict[str, Any]:
        return {"target": self.target, "distance_mm": self.distance_mm()}

    def _known(self, target: str | None) -> str | None:
        if target is None:
            return None
        name = canonical_name(target)
        if name not in self.case.landmarks:
            known = ", ".join(self.case.landmarks) or "none; give a landmarks file"
            raise BadInput(f"`{name}` is not among the landmarks of the case {self.case.name!r}. It holds: {known}.")
        return name

    def _allowed(self, pose: Pose) -> Pose:
        verdict = self.limits.check_pose(pose)
        if not verdict.ok:
            raise BadInput(f"The pose {pose!r} is refused by the {verdict.rule} rule: {verdict.reason}")
        return pose

    def _centre(self) -> Pose:
        x_mm, _, z_mm = self.case.volume.bounds_world.mean(axis=0)
        return Pose(x_mm=float(x_mm), y_mm=self.case.volume.mid_coronal_y_mm, z_mm=float(z_mm))

    def _random_start(self) -> Pose:
        low, high = self.case.volume.bounds_world
        x_mm, _, z_mm = self.np_random.uniform(low, high)
        return Pose(x_mm=float(x_mm), y_mm=self.case.volume.mid_coronal_y_mm, z_mm=float(z_mm))


def optics_of(settings: CArmSettings) -> Optics:
    """The optics that the settings describe.

    Raises:
        BadInput: the isocentre would not lie between source and detector.
    """
    try:
        return Optics(
            source_detector_mm=settings.source_detector_mm,
            source_isocentre_mm=settings.source_isocentre_mm,
            detector_mm=settings.detector_mm,
        )
    except ValidationError as error:
        raise BadInput(
            f"`source_isocentre_mm` = {settings.source_isocentre_mm:g} must be smaller than `source_detector_mm` = "
            f"{settings.source_detector_mm:g}. Correct the settings of the C-arm."
        ) from error


def _process_settings() -> CArmSettings:
    return settings().carm


def _arguments(action: Array) -> dict[str, Any]:
    return dict(zip(Motion.model_fields, np.asarray(action, dtype=np.float64).tolist(), strict=True))


def _state(pose: Pose, *, exposures: int, exposed: Pose | None) -> State:
    return {
        "pose": pose.model_dump(),
        "exposures": exposures,
        "exposed": None if exposed is None else exposed.model_dump(),
    }


def _pose(state: State) -> Pose:
    return Pose.model_validate(state["pose"])


def _refuse(verdict: Verdict) -> None:
    if not verdict.ok:
        raise ToolRefused(f"{verdict.rule}: {verdict.reason}")


gym.register(id=ENV_ID, entry_point=f"{__name__}:CArmWorld")
