"""The world contract: what a loop acts on, whatever it is made of."""

from typing import Any, Protocol, runtime_checkable

from loopwright.schema.acts import Act, Outcome


@runtime_checkable
class World(Protocol):
    """A `gymnasium.Env` that also applies acts by idempotency key, for one holder at a time.

    A device keeps its state, its applied keys and its fencing token outside the session's process, so that killing a
    session does not reset it. `token` is the holder's (`Lease.token`); it only grows. A device that has seen a greater
    one refuses: `SessionBusy` is raised and nothing moves. `loopwright.tools.simulated.SimulatedWorld` is a base class.
    """

    def hold(self, token: int) -> None:
        """Refuse smaller tokens from now on, and remember that. Raises `SessionBusy` where a greater one was seen."""
        ...

    def apply(self, key: str, act: Act, token: int) -> Outcome:
        """Do `act` at most once. A key that was applied before returns its recorded outcome and moves nothing."""
        ...

    def outcome_of(self, key: str) -> Outcome | None:
        """The outcome of `key`, or None where the world has never applied it."""
        ...

    def last_key(self) -> str | None:
        """The key that was applied last, or None where none was."""
        ...

    def snapshot(self) -> dict[str, Any]:
        """The world's state as JSON, with all that it counts. Acts alone change it; the ledger keeps a digest of it."""
        ...

    def restore(self, snapshot: dict[str, Any], key: str, token: int) -> Outcome:
        """Put the world back to `snapshot`: an act like any other, done at most once. Applied keys stay applied.

        Of what nothing undoes (exposures) the greater count stands, the world's own or the snapshot's.
        """
        ...
