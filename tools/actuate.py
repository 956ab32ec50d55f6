"""The only door to a world: an act goes through the ledger, happens at most once, and is never forgotten (rule 3).

intent committed under an idempotency key -> approval bound to the command's hash, in a transaction that looks for STOP
and for the lease -> the world acts, for the holder of its greatest token -> outcome committed. A process may die or be
suspended between any two of these; what `Actuator.act` finds under the same key when it is called again decides:

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

from collections.abc import Callable
from datetime import datetime
from itertools import count
from typing import TYPE_CHECKING, Any

from loopwright.errors import Stopped, UnsettledAct
from loopwright.schema import Act, CancelToken, Outcome, World, restoring, sha256_of
from loopwright.tools.call import within

if TYPE_CHECKING:
    from loopwright.memory.ledger import Ledger
    from loopwright.memory.rows import Approver, LedgerEntry

DEFAULT_TIMEOUT_S = 60.0
STOP = "STOP"
"""The reason that the ledger gives for an act that a STOP kept back."""


class Actuator:
    """Sends acts of one session to one world, through one ledger whose memory holds the session."""

    def __init__(self, world: World, ledger: "Ledger", session_id: str, cancel: CancelToken) -> None:
        self._world = world
        self._ledger = ledger
        self._session_id = session_id
        self._cancel = cancel

    def act(
        self,
        key: str,
        act: Act,
        *,
        step: int,
        by: "Approver",
        approved_at: datetime | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
    ) -> Outcome:
        """Have `act` done once under `key`, or learn what became of it.

        Args:
            key: the caller's, the same when it asks again for the same act.
            act: the exact command.
            step: of the session, for the ledger.
            by: who approved this command.
            approved_at: when; None: now.
            timeout_s: how long the world may take, s.

        Raises:
            Stopped: a human said STOP before the act was sent; the ledger has it as refused.
            Paused: a human asked for a pause before it was sent; the ledger has it as intended.
            ApprovalExpired: it was approved too long ago; nothing was sent. Call again once it is approved again.
            IntegrityError: `key` stands for another command, or for one of another session; nothing was sent.
            SessionBusy: this process does not hold the session, or another one took over; nothing moved.
            UnsettledAct: sent, no answer for `timeout_s` seconds, and the world does not know of it. It is not sent
                again here; the next call with `key` asks the world first.
        """

        def send(token: int) -> Outcome:
            return self._world.apply(key, act, token)

        return self._once(key, act, send, step=step, by=by, approved_at=approved_at, timeout_s=timeout_s)

    def restore(
        self,
        key: str,
        snapshot: dict[str, Any],
        *,
        step: int,
        by: "Approver",
        approved_at: datetime | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
    ) -> Outcome:
        """Put the world back to `snapshot`, an act like any other (`restoring`). See `act`."""

        def send(token: int) -> Outcome:
            return self._world.restore(snapshot, key, token)

        act = restoring(snapshot)
        return self._once(key, act, send, step=step, by=by, approved_at=approved_at, timeout_s=timeout_s)

    def refuse(self, key: str, act: Act, *, step: int, reason: str) -> Outcome:
        """Put on record that `act` is not to be sent, as a guard or a human decided. Raises as the ledger does."""
        entry = self._ledger.intend(self._session_id, key, act, step=step)
        return self._known(entry) or _refusal(self._ledger.refuse(key, reason))

    def act_anew(
        self,
        key: str,
        act: Act,
        *,
        step: int,
        by: "Approver",
        approved_at: datetime | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
    ) -> Outcome:
        """As `act`, under the first of the keys `key.0`, `key.1`, ... that no STOP kept back.

        Whoever resumes a session that was stopped asks anew for what was kept back. Raises as `act`.
        """
        how: dict[str, Any] = {"step": step, "by": by, "approved_at": approved_at, "timeout_s": timeout_s}
        attempts = (self.act(f"{key}.{n}", act, **how) for n in count())
        return next(outcome for outcome in attempts if outcome.reason != STOP)

    def refuse_anew(self, key: str, act: Act, *, step: int, reason: str) -> Outcome:
        """As `refuse`, under the first of the keys of `act_anew` that no STOP kept back."""
        attempts = (self.refuse(f"{key}.{n}", act, step=step, reason=reason) for n in count())
        return next(outcome for outcome in attempts if outcome.reason != STOP)

    def take_over(self, token: int, *, refuse: str | None = None) -> list[Outcome]:
        """Have the world refuse every lease older than the one with `token`, then `settle`.

        In this order: what a suspended holder has authorised, and the world does not know by now, never happens.

        Raises:
            SessionBusy: the world has seen a greater token.
        """
        self._world.hold(token)
        return self.settle(refuse=refuse)

    def settle(self, *, refuse: str | None = None) -> list[Outcome]:
        """Learn the fate of every act of the session that has no outcome, without sending any; nothing is in flight.

        An act that the world knows is settled with its outcome, and returned. The others were not sent: they are
        refused for the reason `refuse`; where it is None they stay, and are authorised again when they are asked for.
        """
        sent = []
        for entry in self._ledger.unsettled(self._session_id):
            outcome = self._known(entry)
            if outcome is not None:
                sent.append(outcome)
            elif refuse is not None:
                self._ledger.refuse(entry.key, refuse)
        return sent

    def _once(
        self,
        key: str,
        act: Act,
        send: Callable[[int], Outcome],
        *,
        step: int,
        by: "Approver",
        approved_at: datetime | None,
        timeout_s: float,
    ) -> Outcome:
        entry = self._ledger.intend(self._session_id, key, act, step=step)
        return self._known(entry) or self._send(self._authorised(key, act, by, approved_at), send, timeout_s)

    def _known(self, entry: "LedgerEntry") -> Outcome | None:
        """What became of an act; None where it was never sent."""
        if entry.status == "refused":
            return _refusal(entry)
        if entry.status != "authorised":
            return entry.outcome
        outcome = self._world.outcome_of(entry.key)
        if outcome is not None:
            self._settle(entry.key, outcome)
        return outcome

    def _settle(self, key: str, outcome: Outcome) -> None:
        self._ledger.settle(key, outcome, world_sha256=world_sha256(self._world))

    def _authorised(self, key: str, act: Act, by: "Approver", approved_at: datetime | None) -> "LedgerEntry":
        try:
            self._cancel.raise_if_set()
            return self._ledger.authorise(key, act.sha256, by, approved_at=approved_at)
        except Stopped:
            self._ledger.refuse(key, STOP)
            raise

    def _send(self, entry: "LedgerEntry", send: Callable[[int], Outcome], timeout_s: float) -> Outcome:
        """From here on the act counts as sent: a STOP no longer keeps it back, it is settled and reported."""

        def sent(_: CancelToken) -> Outcome:
            return send(self._ledger.token_to_send(entry))

        def overdue() -> Outcome:
            outcome = self._world.outcome_of(entry.key)
            if outcome is None:
                raise UnsettledAct(
                    f"`{entry.act.tool}` ({entry.key}) was sent and the world gave no answer for {timeout_s:g} s, nor "
                    "does it know the key. Nothing further is sent. Look at the device, then resume the session: it "
                    "asks again."
                )
            return outcome

        outcome = within(timeout_s, self._cancel, sent, overdue)
        self._settle(entry.key, outcome)
        return outcome


def world_sha256(world: Any) -> str:
    """A digest of where a world stands and of what it has counted: acts alone change it."""
    counted = dict(world.spent()) if hasattr(world, "spent") else {}
    return sha256_of({"snapshot": world.snapshot(), "spent": counted})


def _refusal(entry: "LedgerEntry") -> Outcome:
    return Outcome(key=entry.key, status="refused", reason=entry.reason)
