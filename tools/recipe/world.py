"""The kitchen, `loopwright/Kitchen-v0`: one dish, recorded or simulated, its picture, and what is written about it.

What was written lives on a simulated device (`loopwright.tools.simulated`). Two acts change it: `record_labels` and
`write_instructions`; a later one replaces an earlier one. It knows no predictor, no judge and no human.
"""

from pathlib import Path
from typing import Annotated, Any, Self

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from pydantic import Field, StringConstraints, model_validator

from loopwright.errors import BadInput, UnknownName
from loopwright.schema import Act, Frozen
from loopwright.tools.device import State
from loopwright.tools.recipe.dish import Dish, SimulatedDish, open_dish
from loopwright.tools.recipe.extract import Vocabularies
from loopwright.tools.recipe.kitchen.drawing import SIZE_PX
from loopwright.tools.recipe.kitchen.plan import SEEDS_A_PART, seeds_of
from loopwright.tools.recipe.labels import Labels, f1
from loopwright.tools.simulated import SimulatedWorld

Observation = dict[str, Any]
LabelAction = dict[str, Any]
ENV_ID = "loopwright/Kitchen-v0"
MOST_STEPS = 100
MOST_STEP_CHARS = 2000
_METADATA: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 1}
Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=MOST_STEP_CHARS)]


class RecordLabels(Frozen):
    """Arguments of `record_labels`: what is done and what is in the dish, as it is believed to be."""

    actions: tuple[str, ...] = Field(default=(), description="names of actions")
    ingredients: tuple[str, ...] = Field(default=(), description="names of ingredients")

    @model_validator(mode="after")
    def _some_each_once(self) -> Self:
        if not self.actions and not self.ingredients:
            raise ValueError("both sets are empty; expected one label at least")
        for names in (self.actions, self.ingredients):
            if len(set(names)) < len(names):
                raise ValueError("each label may be named once")
        return self


class WriteInstructions(Frozen):
    """Arguments of `write_instructions`: how the dish is made, step by step."""

    steps: tuple[Text, ...] = Field(min_length=1, max_length=MOST_STEPS)


class KitchenWorld(SimulatedWorld[Observation, LabelAction]):
    """A dish, and what is written about it.

    Observation: `image` uint8 (N, N, 3), black where the dish has none, which `has_image` tells. Action: `actions` and
    `ingredients`, 1 for every label of the vocabularies (sorted) that the dish is said to have. A step records them and
    ends the episode; the reward is the mean of both sets' F1. `info["labels"]` is the truth.
    """

    metadata = _METADATA

    def __init__(
        self,
        dish: Dish | str = "simulated:0",
        *,
        device: Path | None = None,
        image_px: int = SIZE_PX,
        render_mode: str | None = None,
    ) -> None:
        """Stand at a device that may have been used before.

        Args:
            dish: or what `open_dish` opens.
            device: the device's file; an existing one keeps its state. None: it lives in this process.
            image_px: edge of the pictures in observations.
            render_mode: as gymnasium has it: None or "rgb_array".

        Raises:
            BadInput: there is no such dish, or the device is at another one.
            OperatorError: the device file cannot be used.
        """
        self.dish = open_dish(dish) if isinstance(dish, str) else dish
        self.render_mode = render_mode
        self._image_px = image_px
        self._known = self.dish.known
        super().__init__(device=device)
        _ = self.state  # refuses a device that is at another dish
        self.observation_space = spaces.Dict(
            {"image": spaces.Box(0, 255, (image_px, image_px, 3), np.uint8), "has_image": spaces.Discrete(2)}
        )
        self.action_space = spaces.Dict(
            {what: spaces.MultiBinary(len(names)) for what, names in _names(self._known).items()}
        )

    # The dish

    @property
    def state(self) -> State:
        """The state as it is now.

        Raises:
            BadInput: the device is at another dish.
        """
        return self._checked(super().state)

    @property
    def dish_name(self) -> str:
        """The dish's."""
        return self.dish.name

    def picture(self) -> NDArray[np.uint8] | None:
        """The dish's picture, (N, N, 3), where it has one.

        Raises:
            BadInput: a photo is gone, damaged or too large to open.
        """
        return self.dish.image(self._image_px)

    @property
    def labels(self) -> Labels | None:
        """What was recorded last; None before."""
        recorded = self.state["labels"]
        return None if recorded is None else Labels(frozenset(recorded["actions"]), frozenset(recorded["ingredients"]))

    @property
    def instructions(self) -> tuple[str, ...] | None:
        """What was written last; None before."""
        written = self.state["instructions"]
        return None if written is None else tuple(written)

    # The world

    def initial(self) -> State:
        """At the dish, with nothing written."""
        return {"dish": self.dish.name, "writings": 0, "labels": None, "instructions": None}

    def act(self, state: State, act: Act) -> tuple[State, dict[str, Any]]:
        """Do `record_labels` (`RecordLabels`) or `write_instructions` (`WriteInstructions`)."""
        self._checked(state)
        match act.tool:
            case "record_labels":
                labels = RecordLabels.model_validate(act.arguments)
                for what, names, known in (
                    ("action", labels.actions, self._known.actions),
                    ("ingredient", labels.ingredients, self._known.ingredients),
                ):
                    for name in names:
                        if name not in known.counts:
                            raise UnknownName(what, name, known.classes)
                change: State = {"labels": labels.model_dump(mode="json")}
            case "write_instructions":
                change = {"instructions": list(WriteInstructions.model_validate(act.arguments).steps)}
            case _:
                raise UnknownName("act", act.tool, ["record_labels", "write_instructions"])
        after = {**state, **change, "writings": state["writings"] + 1}
        return after, {"writings": after["writings"]}

    def observe(self, state: State) -> Observation:
        """See the class."""
        image = self.picture()
        black = np.zeros((self._image_px, self._image_px, 3), dtype=np.uint8)
        return {"image": black if image is None else image, "has_image": np.int64(image is not None)}

    def restored(self, state: State, snapshot: State) -> State:
        """As in `snapshot` again.

        Raises:
            BadInput: it is no snapshot of this dish.
        """
        if snapshot.keys() != state.keys() or snapshot["dish"] != self.dish.name:
            raise BadInput(f"`snapshot` {snapshot!r:.200} is not of {self.dish.name}, as `snapshot()` returns it.")
        return snapshot

    # gymnasium

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Observation, State]:
        """Another dish where one is asked for, with nothing written. Applied keys stay applied.

        Args:
            seed: draws a training dish, where the dish is a simulated one and `options` name none.
            options: `dish`, a `Dish` with the same vocabularies or what `open_dish` opens.

        Raises:
            BadInput: there is no such dish, or it has other vocabularies.
        """
        gym.Env.reset(self, seed=seed)
        asked = (options or {}).get("dish")
        if asked is not None:
            dish = open_dish(asked, self._known) if isinstance(asked, str) else asked
            if dish.known != self._known:
                raise BadInput(f"`dish` {dish.name} has other vocabularies than {self.dish.name}. Make a world for it.")
            self.dish = dish
        elif seed is not None and isinstance(self.dish, SimulatedDish):
            dishes = seeds_of("train", SEEDS_A_PART)
            self.dish = SimulatedDish(dishes[int(self.np_random.integers(len(dishes)))])
        self.begin(self.initial())
        return self.observe(self.state), self._info()

    def step(self, action: LabelAction) -> tuple[Observation, float, bool, bool, State]:
        """Say which labels the dish has, and end. See the class."""
        said = {
            what: [name for name, is_said in zip(names, action[what], strict=True) if is_said]
            for what, names in _names(self._known).items()
        }
        outcome = self.perform(Act(tool="record_labels", arguments=said))
        true = self.dish.labels
        reward = (f1(set(said["actions"]), true.actions) + f1(set(said["ingredients"]), true.ingredients)) / 2
        if outcome.status != "done":
            return self.observe(self.state), 0.0, True, False, {**self._info(), "refused": outcome.reason}
        return self.observe(self.state), reward, True, False, self._info()

    def render(self) -> NDArray[np.uint8] | None:
        """The observation's picture, where `render_mode` is "rgb_array"."""
        return self.observe(self.state)["image"] if self.render_mode == "rgb_array" else None

    def _checked(self, state: State) -> State:
        if state["dish"] != self.dish.name:
            raise BadInput(
                f"The device `{self.device}` is at {state['dish']!r}, not at {self.dish.name!r}. Open that dish, or "
                "use another device."
            )
        return state

    def _info(self) -> dict[str, Any]:
        labels = self.dish.labels
        return {
            "dish": self.dish.name,
            "labels": {"actions": sorted(labels.actions), "ingredients": sorted(labels.ingredients)},
        }


def _names(known: Vocabularies) -> dict[str, list[str]]:
    return {"actions": sorted(known.actions.counts), "ingredients": sorted(known.ingredients.counts)}


gym.register(id=ENV_ID, entry_point=f"{__name__}:KitchenWorld")
