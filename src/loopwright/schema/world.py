"""The world contract: what a loop acts on, whatever it is made of."""

from typing import Any, Protocol, runtime_checkable

from loopwright.schema.acts import Act, Outcome


@runtime_checkable
class World(Protocol):
    """A `gymnasium.Env` that also applies acts by idempotency key.

    A simulated device keeps its state and its applied keys outside the session's process, so that killing a session
    does not reset the device.
    """

    def apply(self, key: str, act: Act) -> Outcome:
        """Do `act` at most once. A key that was applied before returns its recorded outcome and moves nothing."""
        ...

    def outcome_of(self, key: str) -> Outcome | None:
        """The outcome of `key`, or None where the world has never applied it."""
        ...

    def snapshot(self) -> dict[str, Any]:
        """The world's state as JSON."""
        ...

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Put a simulated world back to `snapshot`. Applied keys stay applied."""
        ...
