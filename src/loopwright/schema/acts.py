"""Acts: what may change a world, who approved it, and what came of it."""

from typing import Any, Literal

from pydantic import Field

from loopwright.digests import sha256_of
from loopwright.schema.base import Frozen

ActStatus = Literal["done", "refused", "failed"]


class Act(Frozen):
    """One exact command to a world: the tool's name and its JSON arguments. Its hash is what gets approved."""

    tool: str
    arguments: dict[str, Any] = Field(default_factory=dict)

    @property
    def sha256(self) -> str:
        """SHA-256 of the canonical JSON of this command."""
        return sha256_of(self.model_dump(mode="json"))


def restoring(snapshot: dict[str, Any]) -> Act:
    """The act of putting a world back to `snapshot`: what the ledger and the device record of `World.restore`."""
    return Act(tool="restore", arguments={"snapshot": snapshot})


class Outcome(Frozen):
    """What a world did about the act with idempotency key `key`."""

    key: str
    status: ActStatus
    result: dict[str, Any] = Field(default_factory=dict)
    reason: str = ""


class Verdict(Frozen):
    """What code says of a proposed act. `rule` names the rule that decided; guards reject, they never clamp."""

    ok: bool
    rule: str = ""
    reason: str = ""
