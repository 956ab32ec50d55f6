"""A tool's door to a real world where no loop opens one: a real actuator behind a guard of the test's own."""

from collections.abc import Callable
from typing import Literal

from loopwright.errors import ToolRefused
from loopwright.schema import Act, Outcome, Verdict
from loopwright.tools.actuate import Actuator
from loopwright.tools.contract import Send

Judge = Callable[[Act], Verdict]


def sending(
    actuator: Actuator, *, step: int, by: Literal["guard", "human"] = "guard", judge: Judge | None = None
) -> Send:
    """Sends through `actuator` what `judge` lets pass, in the name of `by`."""

    def send(key: str, act: Act, timeout_s: float) -> Outcome:
        verdict = judge(act) if judge else Verdict(ok=True)
        if not verdict.ok:
            reason = f"{verdict.reason} (rule `{verdict.rule}`)"
            actuator.refuse(key, act, step=step, reason=reason)
            raise ToolRefused(reason)
        return actuator.act(key, act, step=step, by=by, timeout_s=timeout_s)

    return send
