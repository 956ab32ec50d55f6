"""The surgery world, `loopwright/SurgicalVideo-v0`: a video shown clip by clip, recorded or simulated.

Where it stands, what was recommended and what was performed instead live on a simulated device
(`loopwright.tools.simulated`). Two acts change it: `record_plan` and `next_clip`. It knows no planner and no human.
"""

from pathlib import Path
from typing import Any, Self

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from PIL import Image, ImageOps
from pydantic import Field, model_validator

from loopwright.errors import BadInput, ToolRefused, UnknownName
from loopwright.schema import Act, Frozen
from loopwright.tools.device import State
from loopwright.tools.simulated import SimulatedWorld
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


class SurgicalVideoWorld(SimulatedWorld[Observation, np.int64]):
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
            device: the device's file; an existing one keeps its state. None: it lives in this process.
            frame_px: edge of the pictures in observations.
            render_mode: as gymnasium has it: None or "rgb_array".

        Raises:
            BadInput: there is no such video, or the device is at another one.
            OperatorError: the device file cannot be used.
        """
        self.video = open_video(video) if isinstance(video, str) else video
        self.render_mode = render_mode
        self._frame_px = frame_px
        super().__init__(device=device)
        _ = self.state  # refuses a device that is at another video
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
    def state(self) -> State:
        """The state as it is now.

        Raises:
            BadInput: the device is at another video.
        """
        return self._checked(super().state)

    @property
    def clip(self) -> Clip:
        """The clip that the video stands at."""
        return self._known_clip(self.state)

    @property
    def clips(self) -> tuple[Clip, ...]:
        """Every clip so far, the present one last."""
        state = self.state
        past = [self.video.clip(i, _instead(state)) for i in range(state["clip"] + 1)]
        return tuple(clip for clip in past if clip is not None)

    @property
    def is_last(self) -> bool:
        """Whether no clip follows."""
        state = self.state
        return self._clip({**state, "clip": state["clip"] + 1}) is None

    @property
    def plans(self) -> dict[int, tuple[Action, ...]]:
        """The plan that was recorded last at each clip."""
        return {int(index): tuple(actions) for index, actions in self.state["plans"].items()}

    @property
    def performed(self) -> dict[int, Action]:
        """What was performed instead of what the video has, by clip."""
        return _instead(self.state)

    @property
    def truth(self) -> VisibleState | None:
        """What is truly visible at the clip's end; None for a recorded video."""
        state = self.state
        return self.video.state(state["clip"], _instead(state))

    def image(self) -> NDArray[np.uint8] | None:
        """(height, width, 3) the clip's last picture as it is; None where it has none."""
        state = self.state
        return self.video.image(state["clip"], _instead(state))

    # The world

    def initial(self) -> State:
        """At the first clip of the video."""
        return {"video": self.video.name, "clip": 0, "plans": {}, "instead": {}}

    def act(self, state: State, act: Act) -> tuple[State, dict[str, Any]]:
        """Do `record_plan` (`RecordPlan`) or `next_clip` (`NextClip`)."""
        self._checked(state)
        match act.tool:
            case "record_plan":
                plan = RecordPlan.model_validate(act.arguments)
                after = {**state, "plans": {**state["plans"], str(state["clip"]): list(plan.actions)}}
            case "next_clip":
                after = self._gone_on(state, NextClip.model_validate(act.arguments).instead)
            case _:
                raise UnknownName("act", act.tool, ["record_plan", "next_clip"])
        return after, {"clip": after["clip"], "action": self._known_clip(after).action}

    def observe(self, state: State) -> Observation:
        """See the class."""
        image, clip = self.video.image(state["clip"], _instead(state)), self._known_clip(state)
        seen = Image.fromarray(np.zeros((1, 1, 3), dtype=np.uint8) if image is None else image)
        padded = ImageOps.pad(seen, (self._frame_px, self._frame_px))
        return {
            "image": np.asarray(padded),
            "has_image": np.int64(image is not None),
            "action": np.int64(ACTIONS.index(clip.action)),
            "clip": np.array(clip.index, dtype=np.int64),
            "duration_s": np.array(clip.duration_s, dtype=np.int64),
        }

    def restored(self, state: State, snapshot: State) -> State:
        """At `snapshot` again.

        Raises:
            BadInput: it is no snapshot of this video.
        """
        is_ours = snapshot.keys() == state.keys() and snapshot["video"] == self.video.name
        if not is_ours or self._clip(snapshot) is None:
            raise BadInput(f"`snapshot` {snapshot!r:.200} is not of {self.video.name}, as `snapshot()` returns it.")
        return snapshot

    # gymnasium

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Observation, State]:
        """To the first clip, of another video where one is asked for. Applied keys stay applied.

        Args:
            seed: draws a training patient, where the video is a simulated one and `options` name none.
            options: `video`, a `Video` or what `open_video` opens.

        Raises:
            BadInput: there is no such video.
        """
        gym.Env.reset(self, seed=seed)
        asked = (options or {}).get("video")
        if asked is not None:
            self.video = open_video(asked) if isinstance(asked, str) else asked
        elif seed is not None and isinstance(self.video, SimulatedVideo):
            patients = seeds_of("train", SEEDS_A_PART)
            self.video = self.video.of_patient(patients[int(self.np_random.integers(len(patients)))])
        self.begin(self.initial())
        return self.observe(self.state), self._info()

    def step(self, action: np.int64) -> tuple[Observation, float, bool, bool, State]:
        """Predict the next action and see it. See the class."""
        predicted = ACTIONS[int(action)]
        gone = self.perform(Act(tool="record_plan", arguments={"actions": [predicted]}), Act(tool="next_clip"))
        if gone.status != "done":
            return self.observe(self.state), 0.0, True, False, {**self._info(), "refused": gone.reason}
        reward = float(self.clip.action == predicted)
        return self.observe(self.state), reward, self.is_last, False, self._info()

    def render(self) -> NDArray[np.uint8] | None:
        """The observation's picture, where `render_mode` is "rgb_array"."""
        return self.observe(self.state)["image"] if self.render_mode == "rgb_array" else None

    def _gone_on(self, state: State, instead: Action | None) -> State:
        """The state at the next clip, with the action `instead` of the video's own."""
        following = state["clip"] + 1
        after = {**state, "clip": following}
        now = self._clip(state)
        if instead is not None and not self.video.can_differ:
            raise ToolRefused(
                f"recorded: {self.video.name} is recorded: nothing else can be done. Send `next_clip` without "
                "`instead`."
            )
        if instead is not None and now is not None and instead == now.action:
            raise ToolRefused(f"repeated: {instead} is what is being done; the next clip is another action.")
        if instead is not None:
            after["instead"] = {**state["instead"], str(following): instead}
        if self._clip(after) is None:
            raise ToolRefused(f"finished: {self.video.name} ends with clip {state['clip']}.")
        return after

    def _checked(self, state: State) -> State:
        if state["video"] != self.video.name:
            raise BadInput(
                f"The device `{self.device}` is at {state['video']!r}, not at {self.video.name!r}. Open that video, or "
                "use another device."
            )
        return state

    def _clip(self, state: State) -> Clip | None:
        return self.video.clip(state["clip"], _instead(state))

    def _known_clip(self, state: State) -> Clip:
        clip = self._clip(state)
        if clip is None:
            raise BadInput(f"{self.video.name} has no clip {state['clip']}: it is shorter than it was.")
        return clip

    def _info(self) -> dict[str, Any]:
        truth = self.truth
        return {"video": self.video.name, "state": None if truth is None else truth.model_dump()}


def _instead(state: State) -> dict[int, Action]:
    return {int(index): action for index, action in state["instead"].items()}


gym.register(id=ENV_ID, entry_point=f"{__name__}:SurgicalVideoWorld")
