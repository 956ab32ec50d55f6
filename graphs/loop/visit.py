"""One visit of a node, without its verbs: where entries belong, and how the node leaves."""

from typing import NoReturn

from loopwright.agents.sessions.recorder import Place, Recorder
from loopwright.errors import DeveloperError
from loopwright.graphs.loop.declare import Ending, State
from loopwright.graphs.loop.runtime import Runtime, Scope, Visit
from loopwright.tools.contract import ToolContext


class Left(BaseException):
    """Leaves a node at once; no `except Exception` of its author holds it. `goto` None: the loop ends."""

    def __init__(self, goto: str | None = None, status: str = "running", reason: str = "") -> None:
        super().__init__(goto, status, reason)
        self.goto, self.status, self.reason = goto, status, reason


def record_end(recorder: Recorder, visit: Visit, status: str, reason: str) -> None:
    """Record that the loop ended in a visit of a node."""
    ended = {"status": status, "reason": reason, "path": visit.path}
    recorder.record_computed(Place(visit.branch, visit.step, f"{visit.key}/end"), "finished", ended)


class NodeVisit:
    """A visit of a node, or an item of a `map` in it. `left` is what the node left with, once it has.

    Attributes:
        runtime: the session's.
        scope: the loop that the node belongs to, with its world and configuration.
        visit: where the loop stands.
        state: the node's copy of the state.
    """

    def __init__(self, runtime: Runtime, scope: Scope, visit: Visit, state: State, *, item: str = "") -> None:
        self.left: BaseException | None = None
        self.is_mapping = False
        self.runtime, self.scope, self.visit, self.state = runtime, scope, visit, state
        self._item, self._n_verbs, self._n_resumes = item, 0, 0

    @property
    def is_item(self) -> bool:
        """Whether this is an item of a `map`."""
        return bool(self._item)

    def require_active(self) -> None:
        """Raise what the node left with, or what halts the session."""
        if self.left is not None:
            raise self.left
        if self.is_mapping:
            raise DeveloperError("A function of `ctx.map` used the node's `ctx`. Use the one that it is given.")
        self.runtime.require_active()

    def next_key(self) -> str:
        """The key of the next verb."""
        key = f"{self._item or self.visit.key}/{self._n_verbs}"
        self._n_verbs += 1
        return key

    def next_resume(self) -> int:
        """The ordinal of the next value that the node is resumed with, in this run of it."""
        self._n_resumes += 1
        return self._n_resumes - 1

    def place(self, key: str) -> Place:
        """Where an entry of `key` belongs."""
        return Place(self.visit.branch, self.visit.step, key)

    def leave(self, status: Ending, reason: str) -> NoReturn:
        """End the loop, and record it; where the node runs beside others, that is done when all have come to an end."""
        if not self.scope.loop.is_beside(self.visit.node):
            record_end(self.runtime.recorder, self.visit, status, reason)
        raise Left(status=status, reason=reason)

    def tool_context(self, key: str) -> ToolContext:
        """What a tool is handed."""
        return self.runtime.tool_context(self.scope, self.visit, key)
