"""Who sees and who steers in a run of the C-arm loop, and the model behind them."""

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

from loopwright.agents.carm_localisers import HybridLocaliser, Localiser, NetworkLocaliser, VlmLocaliser
from loopwright.agents.carm_navigator import ChatNavigator
from loopwright.agents.consult import Advisor
from loopwright.agents.navigator import AtlasNavigator, Navigator
from loopwright.errors import BadInput
from loopwright.models.cards import ModelCard, load_card
from loopwright.models.localisation import Localisation
from loopwright.models.open import open_model
from loopwright.schema import BlobReader, ImageRef

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

    from loopwright.models.local.engine import Engine

LocaliserName = Literal["network", "vlm", "hybrid"]
NavigatorName = Literal["atlas", "vlm", "vlm-unaided"]

ADAPTER = "carm"
"""The one adapter that serves all of the C-arm's roles, where a card has it; else the base answers."""


def checked_card(name_or_path: str) -> dict[str, Any]:
    """A model's card as JSON, after a look at whether what it names is there and fits together.

    Raises:
        UnknownName: there is no such card.
        BadInput: the card, its weights, an adapter or its endpoint will not do.
    """
    card = load_card(name_or_path)
    _check(card.model_dump_json(include=set(card.in_force())))
    return card.in_force()


@lru_cache(maxsize=4)
def _check(card_json: str) -> None:
    from loopwright.models.check import check_card

    card = ModelCard.model_validate_json(card_json)
    for found in check_card(card):
        if not found.ok:
            raise BadInput(f"`model` {card.name!r} cannot be used, its {found.what} will not do: {found.said}")


def make_advisor(card_json: dict[str, Any], images: BlobReader) -> Advisor:
    """The model of a run. Nothing is loaded before it is asked."""
    card = ModelCard.model_validate(card_json)
    adapter = ADAPTER if ADAPTER in card.adapters else None

    def open_it() -> "BaseChatModel":
        if card.kind != "local":
            return open_model(card, images=images)
        from loopwright.models.local.chat import LocalChatModel

        engine = _engine(card.model_dump_json(include=set(card.in_force())))
        return LocalChatModel(card=card, engine=engine, images=images).with_adapter(adapter)

    return Advisor(card, adapter, open_it)


@lru_cache(maxsize=1)
def _engine(card_json: str) -> "Engine":
    """Kept loaded for the next session of this process."""
    from loopwright.models.local.engine import load_engine

    return load_engine(ModelCard.model_validate_json(card_json))


def make_localiser(
    name: LocaliserName,
    see: Callable[[ImageRef], Localisation],
    *,
    field_of_view_mm: float,
    coverage: float,
    advisor: Advisor | None,
) -> Localiser:
    """The localiser of a run. `see` is the network's answer to a picture."""
    match name:
        case "network":
            return NetworkLocaliser(see)
        case "hybrid":
            return HybridLocaliser(NetworkLocaliser(see, "measured"))
        case "vlm":
            is_calibrated = advisor is not None and (advisor.adapter or "") in advisor.card.choice_temperature
            return VlmLocaliser(field_of_view_mm=field_of_view_mm, coverage=coverage if is_calibrated else None)


def make_navigator(name: NavigatorName) -> Navigator:
    """The navigator of a run."""
    return AtlasNavigator() if name == "atlas" else ChatNavigator(is_told=name == "vlm")
