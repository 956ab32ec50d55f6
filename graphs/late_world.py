"""A world that is opened when it is first needed: a replay of a session needs none."""

from abc import ABC, abstractmethod
from functools import cached_property
from typing import Any, Generic, TypeVar

from loopwright.schema import Act, Outcome, World

W = TypeVar("W", bound=World)


class LateWorld(ABC, Generic[W]):
    """Passes acts on to the world that `open` gives."""

    @abstractmethod
    def open(self) -> W:
        """Open the world. Called once, when it is first needed."""

    @cached_property
    def world(self) -> W:
        """The world itself."""
        return self.open()

    def hold(self, token: int) -> None:
        """See `World`."""
        self.world.hold(token)

    def apply(self, key: str, act: Act, token: int) -> Outcome:
        """See `World`."""
        return self.world.apply(key, act, token)

    def outcome_of(self, key: str) -> Outcome | None:
        """See `World`."""
        return self.world.outcome_of(key)

    def last_key(self) -> str | None:
        """See `World`."""
        return self.world.last_key()

    def snapshot(self) -> dict[str, Any]:
        """See `World`."""
        return self.world.snapshot()

    def restore(self, snapshot: dict[str, Any], key: str, token: int) -> Outcome:
        """See `World`."""
        return self.world.restore(snapshot, key, token)
