"""What a session has used of its budget, rebuilt from its record."""

from collections.abc import Mapping

from loopwright.agents.sessions.recorder import Payload, Recorder
from loopwright.graphs.loop.config import Budget


class BudgetKeeper:
    """Counts by entry, so that a node that is run again costs nothing twice. What a rewind left behind stays spent."""

    def __init__(self, budget: Budget, recorder: Recorder) -> None:
        self.budget = budget
        self._tokens: dict[str, int] = {}
        self._counted: set[str] = set()
        self._refused: list[str] = []
        self._branch = 0
        for event in recorder.events:
            if event.key is None:
                continue
            if "usage" in event.payload:
                self.count_tokens(event.key, event.payload)
            if event.kind == "acted":
                self.count_act(event.branch, event.key, is_done=event.payload["status"] == "done")

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

    def count_act(self, branch: int, key: str, *, is_done: bool) -> str:
        """Count an act; what is used up by it, "" for nothing. One that is done, and a rewind, begin a new row."""
        if key not in self._counted:
            if is_done or branch != self._branch:
                self._refused.clear()
            self._branch = branch
            self._counted.add(key)
            if not is_done:
                self._refused.append(key)
        limit = self.budget.refusals
        if limit is None or key not in self._refused or self._refused.index(key) + 1 < limit:
            return ""
        return f"{limit} acts in a row were refused"
