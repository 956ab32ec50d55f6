"""Checks whether what a card names is there and fits together, without loading a base's weights or asking a model."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

from loopwright.errors import LoopwrightError, UnknownName
from loopwright.models.cards import ModelCard
from loopwright.schema import Frozen


class Finding(Frozen):
    """One thing that was looked at: what it is, or what is wrong with it and how that is repaired."""

    what: str
    ok: bool
    said: str


class Step(NamedTuple):
    """One thing to look at. `look` says what is there and raises a `LoopwrightError` where something is wrong."""

    what: str
    look: Callable[[], str]
    needed: bool = False


def check_card(card: ModelCard) -> Iterator[Finding]:
    """What is found, thing by thing. After a failure of what the rest needs there is no rest."""
    for step in _steps(card):
        try:
            yield Finding(what=step.what, ok=True, said=step.look())
        except LoopwrightError as error:
            yield Finding(what=step.what, ok=False, said=str(error))
            if step.needed:
                return


def _steps(card: ModelCard) -> list[Step]:
    if card.kind == "local":
        from loopwright.models.local.check import LocalCheck

        local = LocalCheck(card)
        adapters = [Step(f"adapter {role}", partial(local.adapter, role)) for role in card.adapters]
        return [
            Step("base", local.base, needed=True),
            Step("architecture", local.architecture, needed=True),
            Step("weights", local.weights),
            Step("processor", local.processor),
            *adapters,
        ]
    if card.kind == "served":
        return [Step("endpoint", partial(_endpoint, card))]
    return [Step("script", lambda: f"{len(card.replies)} replies")]


def _endpoint(card: ModelCard) -> str:
    from loopwright.models.served.endpoint import Endpoint

    known = Endpoint(card).model_ids()
    if card.base not in known:
        raise UnknownName(f"model at `{card.base_url}`", card.base, known)
    return f"{card.base_url} offers {card.base}"
