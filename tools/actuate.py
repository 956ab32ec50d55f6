"""The only door to a world: an act goes through the ledger, happens at most once, and is never forgotten (rule 3).

intent committed under an idempotency key -> approval bound to the command's hash, in a transaction that looks for STOP
-> the world acts -> outcome committed. A process may die between any two of these; what `Actuator.act` finds under the
same key when it is called again decides:

| the ledger has     | the world has | what happens                                                                 |
|--------------------|---------------|------------------------------------------------------------------------------|
| nothing, an intent | -             | authorised and sent                                                          |
| an approval        | an outcome    | it was sent: the world's outcome is recorded and returned                    |
| an approval        | nothing       | it was not sent: authorised again, so that a STOP since then counts, and sent |
| an outcome         | -             | that is returned; nothing is sent                                            |
| a refusal          | -             | that is returned as an outcome; nothing is sent                              |
| another command    | -             | `IntegrityError`; nothing is sent                                            |

Knows no guard, no human and no kind of world.
"""

from itertools import count
from typing import TYPE_CHECKING

from loopwright.errors import Stopped, UnsettledAct
from loopwright.schema import Act, CancelToken, Outcome, World
from loopwright.tools.call import within

if TYPE_CHECKING:
    from loopwright.memory.ledger import Ledger
    from loopwright.memory.rows import Approver, LedgerEntry

DEFAULT_TIMEOUT_S = 60.0
STOP = "STOP"
"""The reason that the ledger gives for an act that a STOP kept back."""


class Actuator:
    """Sends acts of one session to one world, through one ledger."""

    def __init__(self, world: World, ledger: "Ledger", session_id: str, cancel: CancelToken) -> None:
        self._world = world
        self._ledger = ledger
        self._session_id = session_id
        self._cancel = cancel

    def act(self, key: str, act: Act, *, step: int, by: "Approver", timeout_s: float = DEFAULT_TIMEOUT_S) -> Outcome:
        """Have `act` done once under `key`, or learn what became of it. `by` names who approved this exact command.

        Raises:
            Stopped: a human said STOP before the act was sent; the ledger has it as refused.
            Paused: a human asked for a pause before it was sent; the ledger has it as intended.
            IntegrityError: `key` stands for another command, or for one of another session; nothing was sent.
            UnsettledAct: sent, no answer for `timeout_s` seconds, and the world does not know of it. It is not sent
                again here; the next call with `key` asks the world first.
        """
        entry = self._ledger.intend(self._session_id, key, act, step=step)
        outcome = self._known(entry)
        if outcome is not None:
            return outcome
        self._authorise(key, act, by)
        return self._send(key, act, timeout_s)

    def act_anew(self, key: str, act: Act, *, step: int, by: "Approver") -> Outcome:
        """As `act`, under the first of the keys `key.0`, `key.1`, ... that no STOP kept back.

        Whoever resumes a session that was stopped asks anew for what was kept back. Raises as `act`.
        """
        attempts = (self.act(f"{key}.{attempt}", act, step=step, by=by) for attempt in count())
        return next(outcome for outcome in attempts if outcome.reason != STOP)

    def settle_all(self, *, stopped: bool = False) -> list[Outcome]:
        """Learn the fate of every act of the session that has no outcome, without sending any.

        Called when a session resumes or stops. An act that the world knows is settled with its outcome, and returned.
        The others were never sent: with `stopped` (a STOP is active) they are refused, else they await their turn.
        """
        sent = []
        for entry in self._ledger.unsettled(self._session_id):
            outcome = self._known(entry)
            if outcome is not None:
                sent.append(outcome)
            elif stopped:
                self._ledger.refuse(entry.key, STOP)
        return sent

    def _known(self, entry: "LedgerEntry") -> Outcome | None:
        """What became of an act; None where it was never sent."""
        if entry.status == "refused":
            return Outcome(key=entry.key, status="refused", reason=entry.reason)
        if entry.status != "authorised":
            return entry.outcome
        outcome = self._world.outcome_of(entry.key)
        if outcome is not None:
            self._ledger.settle(entry.key, outcome)
        return outcome

    def _authorise(self, key: str, act: Act, by: "Approver") -> None:
        try:
            self._cancel.raise_if_set()
            self._ledger.authorise(key, act.sha256, by)
        except Stopped:
            self._ledger.refuse(key, STOP)
            raise

    def _send(self, key: str, act: Act, timeout_s: float) -> Outcome:
        """From here on the act counts as sent: a STOP no longer keeps it back, it is settled and reported."""

        def overdue() -> Outcome:
            outcome = self._world.outcome_of(key)
            if outcome is None:
                raise UnsettledAct(
                    f"`{act.tool}` ({key}) was sent and the world gave no answer for {timeout_s:g} s, nor does it know "
                    "the key. Nothing further is sent. Look at the device, then resume the session: it asks again."
                )
            return outcome

        outcome = within(timeout_s, self._cancel, lambda _: self._world.apply(key, act), overdue)
        self._ledger.settle(key, outcome)
        return outcome
