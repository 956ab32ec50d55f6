"""The surgery world, `loopwright/SurgicalVideo-v0`: a video shown clip by clip, recorded or simulated.

Where it stands, what was recommended and what was performed instead live in a device file, so killing a session does
not rewind the video. Two acts change it: `record_plan` and `next_clip`. It knows no planner and no human.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from PIL import Image, ImageOps
from pydantic import Field, ValidationError, model_validator

from loopwright.errors import BadInput
from loopwright.schema import Act, Frozen, Outcome, Verdict
from loopwright.tools.device import Change, DeviceFile, State
from loopwright.tools.surgery.clips import Clip
from loopwright.tools.surgery.drawing import SIZE_PX
from loopwright.tools.surgery.procedure import VisibleState
from loopwright.tools.surgery.simulator import SEEDS_A_PART, seeds_of
from loopwright.tools.surgery.video import SimulatedVideo, Video, open_video
from loopwright.tools.surgery.vocabulary import ACTIONS, Action

Observation = dict[str, Any]
ENV_ID = "loopwright/SurgicalVideo-v0"
_METADATA: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 1}


class RecordPlan(Frozen):
    """Arguments of `record_plan`: what is recommended to follow the present clip. A later plan for it replaces it."""

    actions: tuple[Action, ...] = Field(min_length=1, max_length=len(ACTIONS), description="best first")

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        if len(set(self.actions)) < len(self.actions):
            raise ValueError("each action may be recommended once")
        return self


class NextClip(Frozen):
    """Arguments of `next_clip`: go on, as the video does, or in the simulator with another action."""

    instead: Action | None = Field(default=None, description="what the surgeon does next; None: as the video goes")


class SurgicalVideoWorld(gym.Env[Observation, np.int64]):
    """A video, at one of its clips.

    Observation: `image` uint8 (N, N, 3), the clip's last picture, padded to a square, black where it has none, which
    `has_image` tells; `action` of the clip, its number in ACTIONS; `clip` and `duration_s`. Action: the number of the
    action that is predicted to follow. A step records it as the plan and goes to the next clip; the reward is 1 where
    the prediction was right, else 0, and the episode terminates at the last clip, after which nothing is to predict.
    `info["state"]` is what is truly visible, for a simulated patient.
    """

    metadata = _METADATA

    def __init__(
        self,
        video: Video | str = "simulated:0",
        *,
        device: Path | None = None,
        frame_px: int = SIZE_PX,
        render_mode: str | None = None,
    ) -> None:
        """Stand at a device that may have been used before.

        Args:
            video: or what `open_video` opens.
            device: the device's file; an existing one keeps its state. None makes one that `close` removes.
            frame_px: edge of the pictures in observations.
            render_mode: as gymnasium has it: None or "rgb_array".

        Raises:
            BadInput: there is no such video, or the device is at another one.
            OperatorError: the device file cannot be used.
        """
        self.video = open_video(video) if isinstance(video, str) else video
        self.render_mode = render_mode
        self._frame_px = frame_px
        self._scratch: tempfile.TemporaryDirectory[str] | None = None
        if device is None:
            self._scratch = tempfile.TemporaryDirectory(prefix="loopwright-surgery-")
            device = Path(self._scratch.name) / "device.sqlite"
        self.device = device
        self._device = DeviceFile(device, _start(self.video.name))
        self._state()
        self.observation_space = spaces.Dict(
            {
                "image": spaces.Box(0, 255, (frame_px, frame_px, 3), np.uint8),
                "has_image": spaces.Discrete(2),
                "action": spaces.Discrete(len(ACTIONS)),
                "clip": spaces.Box(0, np.iinfo(np.int32).max, (), np.int64),
                "duration_s": spaces.Box(0, np.iinfo(np.int32).max, (), np.int64),
            }
        )
        self.action_space = spaces.Discrete(len(ACTIONS))

    # The video

    @property
    def clip(self) -> Clip:
        """The clip that the video stands at."""
        clip = self._clip(self._state())
        if clip is None:
            raise BadInput(f"{self.video.name} has no clip {self._state()['clip']}: it is shorter than it was.")
        return clip

    @property
    def clips(self) -> tuple[Clip, ...]:
        """Every clip so far, the present one last."""
        state = self._state()
        past = [self.video.clip(i, _instead(state)) for i in range(state["clip"] + 1)]
        return tuple(clip for clip in past if clip is not None)

    @property
    def is_last(self) -> bool:
        """Whether no clip follows."""
        state = self._state()
        return self._clip({**state, "clip": state["clip"] + 1}) is None

    @property
    def plans(self) -> dict[int, tuple[Action, ...]]:
        """The plan that was recorded last at each clip."""
        return {int(index): tuple(actions) for index, actions in self._state()["plans"].items()}

    @property
    def truth(self) -> VisibleState | None:
        """What is truly visible at the clip's end; None for a recorded video."""
        state = self._state()
        return self.video.state(state["clip"], _instead(state))

    def image(self) -> NDArray[np.uint8] | None:
        """(height, width, 3) the clip's last picture as it is; None where it has none."""
        state = self._state()
        return self.video.image(state["clip"], _instead(state))

    # The world contract

    def apply(self, key: str, act: Act) -> Outcome:
        """Do `record_plan` (`RecordPlan`) or `next_clip` (`NextClip`) at most once. See `World.apply`."""
        changes: dict[str, Callable[[State, Act], tuple[State, Verdict]]] = {
            "record_plan": self._record,
            "next_clip": self._go_on,
        }

        def change(state: State) -> Change:
            if act.tool not in changes:
                reason = f"Unknown act `{act.tool}`. Known: {', '.join(changes)}."
                return _refused(state, key, Verdict(ok=False, rule="act", reason=reason))
            try:
                after, verdict = changes[act.tool](state, act)
            except ValidationError as error:
                wrong = "; ".join(f"`{'.'.join(map(str, e['loc']))}` {e['msg']}" for e in error.errors())
                return _refused(state, key, Verdict(ok=False, rule="arguments", reason=f"{wrong}."))
            if not verdict.ok:
                return _refused(state, key, verdict)
            return Change(after, Outcome(key=key, status="done", result={"clip": after["clip"]}))

        self._state()
        return self._device.apply(key, act, change)

    def outcome_of(self, key: str) -> Outcome | None:
        """The outcome of `key`, None where it was never applied."""
        return self._device.outcome_of(key)

    def snapshot(self) -> dict[str, Any]:
        """Video, clip, plans and what was performed instead, as JSON."""
        return self._state()

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Stand at `snapshot` again. Applied keys stay applied.

        Raises:
            BadInput: it is no snapshot of this video.
        """
        wanted = _start(self.video.name)
        is_ours = snapshot.keys() == wanted.keys() and snapshot["video"] == self.video.name
        if not is_ours or self._clip(snapshot) is None:
            raise BadInput(f"`snapshot` {snapshot!r:.200} is not of {self.video.name}, as `snapshot()` returns it.")
        self._device.update(lambda _: snapshot)

    # gymnasium

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Observation, State]:
        """To the first clip, of another video where one is asked for. Applied keys stay applied.

        Args:
            seed: draws a training patient, where the video is a simulated one and `options` name none.
            options: `video`, a `Video` or what `open_video` opens.

        Raises:
            BadInput: there is no such video.
        """
        super().reset(seed=seed)
        asked = (options or {}).get("video")
        if asked is not None:
            self.video = open_video(asked) if isinstance(asked, str) else asked
        elif seed is not None and isinstance(self.video, SimulatedVideo):
            patients = seeds_of("train", SEEDS_A_PART)
            self.video = self.video.of_patient(patients[int(self.np_random.integers(len(patients)))])
        self._device.update(lambda _: _start(self.video.name))
        return self._observation(), self._info()

    def step(self, action: np.int64) -> tuple[Observation, float, bool, bool, State]:
        """Predict the next action and see it. See the class."""
        predicted = ACTIONS[int(action)]
        self._step_act(Act(tool="record_plan", arguments={"actions": [predicted]}))
        gone = self._step_act(Act(tool="next_clip"))
        if gone.status != "done":
            return self._observation(), 0.0, True, False, {**self._info(), "refused": gone.reason}
        reward = float(self.clip.action == predicted)
        return self._observation(), reward, self.is_last, False, self._info()

    def render(self) -> NDArray[np.uint8] | None:
        """The observation's picture, where `render_mode` is "rgb_array"."""
        return self._observation()["image"] if self.render_mode == "rgb_array" else None

    def close(self) -> None:
        """Remove the device file where the world made one for itself."""
        if self._scratch is not None:
            self._scratch.cleanup()

    def _record(self, state: State, act: Act) -> tuple[State, Verdict]:
        plan = RecordPlan.model_validate(act.arguments)
        return {**state, "plans": {**state["plans"], str(state["clip"]): list(plan.actions)}}, Verdict(ok=True)

    def _go_on(self, state: State, act: Act) -> tuple[State, Verdict]:
        instead = NextClip.model_validate(act.arguments).instead
        following = state["clip"] + 1
        after = {**state, "clip": following}
        now = self._clip(state)
        if instead is not None and not self.video.can_differ:
            reason = f"{self.video.name} is recorded: nothing else can be done. Send `next_clip` without `instead`."
            return state, Verdict(ok=False, rule="recorded", reason=reason)
        if instead is not None and now is not None and instead == now.action:
            reason = f"{instead} is what is being done; the next clip is another action."
            return state, Verdict(ok=False, rule="repeated", reason=reason)
        if instead is not None:
            after["instead"] = {**state["instead"], str(following): instead}
        if self._clip(after) is None:
            reason = f"{self.video.name} ends with clip {state['clip']}."
            return state, Verdict(ok=False, rule="finished", reason=reason)
        return after, Verdict(ok=True)

    def _step_act(self, act: Act) -> Outcome:
        return self.apply(f"step-{uuid4().hex}", act)

    def _state(self) -> State:
        state = self._device.state()
        if state["video"] != self.video.name:
            raise BadInput(
                f"The device `{self.device}` is at {state['video']!r}, not at {self.video.name!r}. Open that video, or "
                "use another device."
            )
        return state

    def _clip(self, state: State) -> Clip | None:
        return self.video.clip(state["clip"], _instead(state))

    def _observation(self) -> Observation:
        image, clip = self.image(), self.clip
        seen = Image.fromarray(np.zeros((1, 1, 3), dtype=np.uint8) if image is None else image)
        padded = ImageOps.pad(seen, (self._frame_px, self._frame_px))
        return {
            "image": np.asarray(padded),
            "has_image": np.int64(image is not None),
            "action": np.int64(ACTIONS.index(clip.action)),
            "clip": np.array(clip.index, dtype=np.int64),
            "duration_s": np.array(clip.duration_s, dtype=np.int64),
        }

    def _info(self) -> dict[str, Any]:
        truth = self.truth
        return {"video": self.video.name, "state": None if truth is None else truth.model_dump()}


def _start(video: str) -> State:
    return {"video": video, "clip": 0, "plans": {}, "instead": {}}


def _instead(state: State) -> dict[int, Action]:
    return {int(index): action for index, action in state["instead"].items()}


def _refused(state: State, key: str, verdict: Verdict) -> Change:
    return Change(state, Outcome(key=key, status="refused", reason=f"{verdict.rule}: {verdict.reason}"))


gym.register(id=ENV_ID, entry_point=f"{__name__}:SurgicalVideoWorld")
