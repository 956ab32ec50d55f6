"""`SimulatedWorld`: a world whose author writes three methods. What a session asks of a device comes from the base.

    class Room(SimulatedWorld[State, Act]):
        def initial(self) -> State:
            return {"room_c": 15.0, "heater_on": False}

        def act(self, state: State, act: Act) -> tuple[State, dict[str, Any]]:
            if act.tool != "set_heater":
                raise UnknownName("act", act.tool, ["set_heater"])
            after = {**state, "heater_on": SetHeater.model_validate(act.arguments).on}
            return after, after

        def observe(self, state: State) -> State:
            return state

State is plain JSON, kept in a device file outside the session's process (`loopwright.tools.device`), or in this process
where no file is named: for notebooks, tests and training. Knows no kind of world.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, TypeVar
from uuid import uuid4

import gymnasium as gym
from pydantic import ValidationError

from loopwright.errors import BadInput, ToolRefused
from loopwright.schema import Act, Outcome, restoring
from loopwright.tools.device import UNHELD, Change, Device, State

Observation = TypeVar("Observation")
Action = TypeVar("Action")
Result = dict[str, Any]


class SimulatedWorld(gym.Env[Observation, Action], ABC):
    """A world on a simulated device. See the module, and `World` for what a session asks of it.

    `reset` and `step` are for training and notebooks: a device that a session holds refuses them. Where they are not
    written anew, an action is an `Act`, and `step` gives no reward and never ends.
    """

    counters: ClassVar[tuple[str, ...]] = ()
    """The keys of the state that count what nothing undoes, such as exposures: `restore` never lowers them, and a fork
    goes on counting."""

    def __init__(self, *, device: Path | None = None) -> None:
        """Stand at a device that may have been used before.

        Args:
            device: the device's file; an existing one keeps its state. None: it lives in this process.

        Raises:
            OperatorError: the device file cannot be used.
        """
        self._device = Device(device, self.initial())

    # What an author writes

    @abstractmethod
    def initial(self) -> State:
        """The state of a new device, as JSON."""

    @abstractmethod
    def act(self, state: State, act: Act) -> tuple[State, Result]:
        """The state after `act`, and what to say of it, both as JSON. No side effects.

        Raises:
            BadInput, ToolRefused, ValidationError: the act is refused for that reason, and nothing changes.
        """

    @abstractmethod
    def observe(self, state: State) -> Observation:
        """What is seen of `state`, as `observation_space` has it."""

    def snapshot_of(self, state: State) -> State:
        """What of `state` a snapshot holds, beside the counters: by default all of it."""
        return state

    def restored(self, state: State, snapshot: State) -> State:
        """`state` put back to `snapshot`, by default the snapshot itself; the counters are seen to.

        Raises:
            BadInput: it is no snapshot of this world; nothing changes.
        """
        if snapshot.keys() != self._snapshot(state).keys():
            raise BadInput(f"`snapshot` {snapshot!r:.200} is not what `{type(self).__name__}.snapshot()` returns.")
        return snapshot

    # The device

    @property
    def device(self) -> Path | None:
        """The device's file, None where it lives in this process."""
        return self._device.path

    @property
    def state(self) -> State:
        """The state as it is now."""
        return self._device.state()

    def begin(self, state: State) -> None:
        """Put `state` in the place of the present one, as `reset` does. Applied keys stay applied.

        Raises:
            SessionBusy: a session holds the device.
        """
        self._device.replace(state)

    def perform(self, act: Act, *then: Act) -> Outcome:
        """Do the acts in turn, up to the first that is refused; the last outcome. For `step`: no session, no ledger.

        Raises:
            SessionBusy: a session holds the device.
        """
        outcome = self.apply(f"step-{uuid4().hex}", act, UNHELD)
        return self.perform(*then) if then and outcome.status == "done" else outcome

    # The world contract

    def hold(self, token: int) -> None:
        """See `World.hold`."""
        self._device.hold(token)

    def apply(self, key: str, act: Act, token: int) -> Outcome:
        """See `World.apply`."""
        return self._device.apply(key, act, token, lambda state: _carried_out(key, lambda: self.act(state, act)))

    def outcome_of(self, key: str) -> Outcome | None:
        """See `World.outcome_of`."""
        return self._device.outcome_of(key)

    def last_key(self) -> str | None:
        """See `World.last_key`."""
        return self._device.last_key()

    def snapshot(self) -> dict[str, Any]:
        """See `World.snapshot`."""
        return self._snapshot(self.state)

    def restore(self, snapshot: dict[str, Any], key: str, token: int) -> Outcome:
        """See `World.restore`."""

        def change(state: State) -> Change:
            return _carried_out(key, lambda: ({**self.restored(state, snapshot), **counted(state)}, {}))

        def counted(state: State) -> State:
            return {name: max(state[name], snapshot.get(name, 0)) for name in self.counters}

        return self._device.apply(key, restoring(snapshot), token, change)

    def _snapshot(self, state: State) -> State:
        return {**self.snapshot_of(state), **{name: state[name] for name in self.counters}}

    # gymnasium

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Back to the state of a new device. Applied keys stay applied."""
        super().reset(seed=seed)
        self.begin(self.initial())
        return self.observe(self.state), {}

    def step(self, action: Action) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Do `action`, an `Act`. See the class."""
        outcome = self.perform(Act.model_validate(action))
        info = {} if outcome.status == "done" else {"refused": outcome.reason}
        return self.observe(self.state), 0.0, False, False, info

    def close(self) -> None:
        """Let go of a device that lives in this process; a file stays."""
        self._device.close()


def _carried_out(key: str, change: Callable[[], tuple[State, Result]]) -> Change:
    """What `change` makes of a device, a refusal where it raises one."""
    try:
        state, result = change()
    except ValidationError as error:
        wrong = "; ".join(f"`{'.'.join(map(str, e['loc']))}` {e['msg']}" for e in error.errors())
        return _refused(key, f"arguments: {wrong}.")
    except (BadInput, ToolRefused) as refusal:
        return _refused(key, str(refusal))
    return Change(state, Outcome(key=key, status="done", result=result))


def _refused(key: str, reason: str) -> Change:
    return Change(None, Outcome(key=key, status="refused", reason=reason))
