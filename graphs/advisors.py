"""The model behind a run of any loop: its card, checked before the run and kept with it, and the model, opened late."""

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from loopwright.agents.consult import Advisor
from loopwright.errors import BadInput
from loopwright.models.cards import ModelCard, load_card
from loopwright.models.open import open_model
from loopwright.schema import BlobReader

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

    from loopwright.models.local.engine import Engine


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


def make_advisor(card_json: dict[str, Any], images: BlobReader, role: str) -> Advisor:
    """The model of a run, with its card's adapter for `role` where it has one. Nothing is loaded before it is asked."""
    card = ModelCard.model_validate(card_json)
    adapter = role if role in card.adapters else None

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
