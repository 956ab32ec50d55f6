"""What a vision-language model says about many pictures: the roles' own prompts, asked concurrently.

A local model draws under the form's grammar, as in the loop. Any other model is read from its plain replies: strictly,
else repaired, else malformed. Nothing is asked again, so format rates are those of first replies.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, NamedTuple, TypeVar

import numpy as np
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage
from numpy.typing import NDArray

from loopwright.agents.carm.formats import CENTRED, RETRIEVAL, Centred, Correction, Retrieval, correction_form
from loopwright.agents.carm.localisers import POOL_WEIGHT
from loopwright.agents.carm.places import PLACE, Place
from loopwright.agents.carm.prompts import (
    Doubted,
    centred_messages,
    correction_messages,
    nearest_messages,
    place_messages,
    rejected,
    retrieval_messages,
)
from loopwright.agents.role import ask
from loopwright.errors import BadInput
from loopwright.finetune.evaluate.pictures import PngStore
from loopwright.graphs.carm.roles import ADAPTER
from loopwright.models.answers import TextFormat, read
from loopwright.models.cards import ModelCard
from loopwright.models.local.chat import LocalChatModel
from loopwright.models.open import open_model
from loopwright.models.scoring import ChoiceScores
from loopwright.schema import ImageRef
from loopwright.tools.carm.landmarks import LANDMARKS

IN_FLIGHT = 32
"""Questions under way at a time: twice what an engine draws together, so that it never waits for the next batch."""
TOLD_EVERY = 250

T = TypeVar("T")
U = TypeVar("U")
Progress = Callable[[str], None]


class Answers(NamedTuple, Generic[T]):
    """Replies to n questions: None for a malformed one, and whether each, (n,), kept the format exactly."""

    values: list[T | None]
    is_strict: NDArray[np.bool_]

    @property
    def formats(self) -> dict[str, NDArray[np.float64]]:
        """(n,) each: 1 where the format was kept exactly, and where it was after repair."""
        readable = [value is not None for value in self.values]
        return {"strict_format": self.is_strict.astype(np.float64), "repaired_format": np.array(readable, np.float64)}


class Vlm:
    """A chat model, the name of its rows, and the store that it opens its pictures from."""

    def __init__(
        self, name: str, model: BaseChatModel, store: PngStore, on_progress: Progress = lambda _: None
    ) -> None:
        self.name = name
        self.model = model
        self._store, self._on_progress = store, on_progress

    @property
    def local(self) -> LocalChatModel | None:
        """The model, if it is one whose choices can be scored."""
        return self.model if isinstance(self.model, LocalChatModel) else None

    @property
    def pool_weight(self) -> float:
        """How much its posterior counts beside the network's, by its card."""
        return self.local.card.pool_weight.get(self.local.adapter or "", POOL_WEIGHT) if self.local else POOL_WEIGHT

    def show(self, images: NDArray[np.uint8]) -> list[ImageRef]:
        """References to (n, N, N) uint8 pictures, which are kept in the store."""
        return [self._store.add(image) for image in images]

    def retrieve(self, refs: Sequence[ImageRef]) -> Answers[Retrieval]:
        """The three nearest landmarks of each picture."""
        return self._answers("the nearest three", [(retrieval_messages(ref), RETRIEVAL) for ref in refs])

    def retrieve_freely(self, refs: Sequence[ImageRef]) -> Answers[Retrieval]:
        """The same without a grammar: what the model writes by itself."""
        return self._answers(
            "the nearest three, freely", [(retrieval_messages(ref), RETRIEVAL) for ref in refs], free=True
        )

    def centre(self, refs: Sequence[ImageRef]) -> Answers[Centred]:
        """The landmark that each picture is centred on, and a second guess."""
        return self._answers("the centred one", [(centred_messages(ref), CENTRED) for ref in refs])

    def correct(self, refs: Sequence[ImageRef], doubted: Sequence[Sequence[Doubted]]) -> Answers[Correction]:
        """The answer to `doubted`, for each picture the turns so far."""
        asked = [
            (correction_messages(ref, turns), correction_form(rejected(turns)))
            for ref, turns in zip(refs, doubted, strict=True)
        ]
        return self._answers("a correction", asked)

    def place(self, questions: Sequence[tuple[ImageRef, str]]) -> Answers[Place]:
        """Where a landmark lies in a picture, for each question."""
        return self._answers("places", [(place_messages(ref, landmark), PLACE) for ref, landmark in questions])

    def score_nearest(self, refs: Sequence[ImageRef]) -> ChoiceScores:
        """(n, L) each: how probable each landmark is as the answer to which is nearest.

        Raises:
            BadInput: the model is not local.
        """
        if (local := self.local) is None:
            raise BadInput(f"The model of `{self.name}` is not local: its choices cannot be scored.")
        scores = self._all(
            "the nearest, scored", refs, lambda ref: local.score_choices(nearest_messages(ref), LANDMARKS)
        )
        return ChoiceScores(np.stack([s.log_probs for s in scores]), np.stack([s.probabilities for s in scores]))

    def _answers(
        self, what: str, asked: Sequence[tuple[list[BaseMessage], TextFormat[T]]], *, free: bool = False
    ) -> Answers[T]:
        def reply(question: tuple[list[BaseMessage], TextFormat[T]]) -> tuple[T | None, bool]:
            messages, form = question
            if self.local is not None and not free:
                return ask(self.local, messages, form).value, True
            # No strict answer has more tokens than characters; what rambles on need not be drawn to its end.
            model = self.model if self.local is None else self.local.bind(max_tokens=form.longest_chars)
            try:
                said = read(model.invoke(messages).text, form)
            except BadInput:
                return None, False
            return said.value, said.is_exact

        replies = self._all(what, asked, reply)
        return Answers([value for value, _ in replies], np.array([strict for _, strict in replies], dtype=np.bool_))

    def _all(self, what: str, asked: Sequence[U], reply: Callable[[U], T]) -> list[T]:
        """`reply` to each of `asked`, in order, many at a time."""
        found: list[T] = []
        with ThreadPoolExecutor(IN_FLIGHT) as pool:
            for one in pool.map(reply, asked):
                found.append(one)
                if len(found) % TOLD_EVERY == 0:
                    self._on_progress(f"{self.name}: {what}, {len(found)} of {len(asked)}")
        return found


def open_vlms(card: ModelCard, store: PngStore, on_progress: Progress = lambda _: None) -> list[Vlm]:
    """`vlm-base`, and `vlm-sft` where the card has an adapter for the C-arm. Both share the base's weights.

    Raises:
        BadInput, MissingDependency, OperatorError: what the card names is missing or wrong.
    """
    model = open_model(card, images=store)
    found = [Vlm("vlm-base", model, store, on_progress)]
    if isinstance(model, LocalChatModel) and ADAPTER in card.adapters:
        found.append(Vlm("vlm-sft", model.with_adapter(ADAPTER), store, on_progress))
    return found
