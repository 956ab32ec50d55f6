"""What a session has used of its budget, rebuilt from its record."""

from collections.abc import Mapping

from loopwright.agents.sessions.recorder import Payload, Recorder
from loopwright.graphs.loop.config import Budget


class BudgetKeeper:
    """Counts by entry, so that a node that is run again costs nothing twice. What a rewind left behind stays spent."""

    def __init__(self, budget: Budget, recorder: Recorder) -> None:
        self.budget = budget
        self._tokens: dict[str, int] = {}
        self._refusals: dict[tuple[int, int], list[str]] = {}
        for event in recorder.events:
            if event.key is None:
                continue
            if "usage" in event.payload:
                self.count_tokens(event.key, event.payload)
            if event.kind in ("acted", "observed") and event.payload.get("status") in ("refused", "failed"):
                self._refusals.setdefault((event.branch, event.step), []).append(event.key)

    @property
    def tokens(self) -> int:
        """Read and written by models so far."""
        return sum(self._tokens.values())

    def count_tokens(self, key: str, payload: Payload) -> None:
        """What the model's reply of an entry cost."""
        used = payload["usage"]
        self._tokens[key] = used.get("input_tokens", 0) + used.get("output_tokens", 0)

    def exhausted(self, step: int, running_s: float) -> str:
        """What is used up when a node begins, "" for nothing."""
        limits = self.budget
        if limits.steps is not None and step >= limits.steps:
            return f"{limits.steps} steps"
        if limits.tokens is not None and self.tokens >= limits.tokens:
            return f"{limits.tokens} tokens ({self.tokens} were used)"
        if limits.seconds is not None and running_s >= limits.seconds:
            return f"{limits.seconds:g} s"
        return ""

    def exhausted_world(self, spent: Mapping[str, float]) -> str:
        """What the world has counted up to its limit, "" for nothing."""
        over = (f"{limit:g} {name}" for name, limit in self.budget.world.items() if spent.get(name, 0) >= limit)
        return next(over, "")

    def count_refusal(self, branch: int, step: int, key: str) -> str:
        """Count an act that was refused, or failed; what is used up by it, "" for nothing."""
        refused = self._refusals.setdefault((branch, step), [])
        if key not in refused:
            refused.append(key)
        limit = self.budget.refusals
        return f"{limit} acts were refused in one step" if limit is not None and refused.index(key) + 1 >= limit else ""
