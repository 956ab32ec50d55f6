"""Makes a chat model of a card: one line for each kind of model. A backend is imported when it is opened."""

from typing import TYPE_CHECKING

from loopwright.models.cards import ModelCard
from loopwright.schema import BlobReader

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel


def open_model(card: ModelCard, *, images: BlobReader | None = None) -> "BaseChatModel":
    """The chat model that `card` describes. `images` gives the pixels of the pictures that messages refer to.

    Nothing is downloaded, and an endpoint is not called before the first message.

    Raises:
        BadInput, MissingDependency, OperatorError: a local model's weights, adapters or device are missing or wrong.
    """
    if card.kind == "local":
        from loopwright.models.local.chat import LocalChatModel
        from loopwright.models.local.engine import load_engine

        return LocalChatModel(card=card, engine=load_engine(card), decoding=card.decoding, images=images)
    if card.kind == "served":
        from loopwright.models.served.chat import ServedChatModel

        return ServedChatModel(card=card, images=images)
    from loopwright.models.scripted import ScriptedChatModel

    return ScriptedChatModel(replies=card.replies)
