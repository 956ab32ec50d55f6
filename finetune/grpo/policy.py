"""The model that is trained, as the loop asks it: the trainer's own weights, drawn from by the engine of every session.

Each reply's prompt and drawn tokens are kept as they were, so that what is trained is what ran: nothing is tokenised a
second time, no picture prepared again, and the grammar that held the reply holds its probabilities in training too.
"""

import hashlib
import threading
from typing import Any, NamedTuple

from langchain_core.messages import BaseMessage
from pydantic import Field, PrivateAttr

from loopwright.finetune.grpo.config import DrawingConfig
from loopwright.finetune.sft.config import BaseModelConfig
from loopwright.models.answers import AnswerFormat
from loopwright.models.cards import Decoding, ModelCard
from loopwright.models.grammar import Grammar
from loopwright.models.local.chat import LocalChatModel, Reply
from loopwright.models.local.engine import Engine, Generation
from loopwright.schema import BlobReader


class Asked(NamedTuple):
    """One reply: what was asked, and the tokens that were drawn."""

    prompt: str
    generation: Generation


class Policy(LocalChatModel):
    """`LocalChatModel` that draws by chance, under the loop's grammar or free, and keeps what it drew (`drawn`)."""

    drawing: DrawingConfig
    drawn: list[Asked] = Field(default_factory=list, exclude=True, repr=False)
    _keeping: Any = PrivateAttr(default_factory=threading.Lock)

    @property
    def format_retries(self) -> int:
        """A reply in no format is a reply too: it earns what it earns."""
        return 0

    def options_for(self, answer: AnswerFormat[Any]) -> dict[str, Any]:
        """As for any local model; without its grammar where candidates are drawn free."""
        options = super().options_for(answer)
        return options if self.drawing.under_grammar else options | {"grammar": free_text(self.drawing.max_tokens)}

    def _reply(self, messages: list[BaseMessage], stop: list[str] | None, options: dict[str, Any]) -> Reply:
        """Draws with a seed of its own for each prompt, however many are under way; the same prompt gets another."""
        grammar = options.get("grammar") or free_text(self.drawing.max_tokens)
        said = "\n".join(f"{message.type}: {message.content}" for message in messages)
        with self._keeping:
            again = sum(one.prompt == said for one in self.drawn)
            digest = hashlib.sha256(f"{self.decoding.seed} {again} {said}".encode()).digest()
            seed = int.from_bytes(digest[:7], "big")
            reply = super()._reply(messages, stop, options | {"grammar": grammar, "seed": seed})
            self.drawn.append(Asked(said, reply.generation))
        return reply


def make_policy(
    engine: Engine, model: BaseModelConfig, drawing: DrawingConfig, images: BlobReader, seed: int
) -> Policy:
    """The policy of one episode; its draws depend on `seed` and what it is asked."""
    decoding = Decoding(temperature=drawing.temperature, max_tokens=drawing.max_tokens, seed=seed)
    card = ModelCard(name="policy", kind="local", base=model.base, image_size_px=model.image_size_px, decoding=decoding)
    return Policy(card=card, engine=engine, images=images, drawing=drawing)


def free_text(max_tokens: int) -> Grammar:
    """Any text of so many tokens. Control tokens are none: a drawn mark of a picture would stand for no picture."""
    return Grammar(kind="regex", text="(?s:.*)", longest_bytes=max_tokens - 1)
