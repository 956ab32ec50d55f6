"""What a model has spent, against what it may spend. Knows tokens and prices, no model."""

import threading

from loopwright.errors import OperatorError
from loopwright.models.cards import Budget
from loopwright.schema import Frozen


class Spent(Frozen):
    """Figures so far. `estimated_calls` are those whose tokens the endpoint did not report."""

    calls: int = 0
    estimated_calls: int = 0
    prompt_tokens: int = 0
    reply_tokens: int = 0
    cost_usd: float = 0.0


class Meter:
    """Adds up what calls used and refuses the next one once the budget is spent. Thread-safe.

    A call's length is not known before it ends, so the last call, or those under way, may overdraw the budget.
    """

    def __init__(self, name: str, budget: Budget) -> None:
        self._name, self._budget = name, budget
        self._lock = threading.Lock()
        self._spent = Spent()

    @property
    def spent(self) -> Spent:
        """The figures so far."""
        return self._spent

    def check(self) -> None:
        """Raise `OperatorError`, with the figures, where the budget is spent."""
        spent, budget = self._spent, self._budget
        tokens = spent.prompt_tokens + spent.reply_tokens
        over_tokens = budget.max_tokens is not None and tokens >= budget.max_tokens
        over_cost = budget.max_cost_usd is not None and spent.cost_usd >= budget.max_cost_usd
        if over_tokens or over_cost:
            of_tokens = f" of {budget.max_tokens}" if budget.max_tokens is not None else ""
            of_cost = f" of {budget.max_cost_usd:g}" if budget.max_cost_usd is not None else ""
            raise OperatorError(
                f"The budget of model `{self._name}` is spent: {tokens}{of_tokens} tokens ({spent.prompt_tokens} in "
                f"prompts, {spent.reply_tokens} in replies), {spent.cost_usd:.4g}{of_cost} USD, in {spent.calls} "
                "calls. Raise `budget` in its card, or open the model anew."
            )

    def charge(self, prompt_tokens: int, reply_tokens: int, *, estimated: bool) -> None:
        """Add one call."""
        cost_usd = (
            prompt_tokens * self._budget.prompt_usd_per_million + reply_tokens * self._budget.reply_usd_per_million
        ) / 1e6
        with self._lock:
            before = self._spent
            self._spent = Spent(
                calls=before.calls + 1,
                estimated_calls=before.estimated_calls + estimated,
                prompt_tokens=before.prompt_tokens + prompt_tokens,
                reply_tokens=before.reply_tokens + reply_tokens,
                cost_usd=before.cost_usd + cost_usd,
            )
