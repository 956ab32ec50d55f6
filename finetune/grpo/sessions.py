"""Episodes that are sessions of a loop: its real graph, guards, tools and prompts; one role's model is the one trained.

Every episode has a policy of its own on the one engine, which draws the replies of episodes under way together.
"""

import tempfile
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import Any, NamedTuple, Self

from langchain_core.language_models import BaseChatModel

from loopwright.errors import OperatorError
from loopwright.finetune.grpo.config import DrawingConfig, EpisodesConfig
from loopwright.finetune.grpo.episode import Episode, Happened, Turn
from loopwright.finetune.grpo.policy import Asked, Policy, make_policy
from loopwright.finetune.sft.config import BaseModelConfig
from loopwright.graphs.loop.loop import Loop
from loopwright.memory import Memory, open_memory
from loopwright.models.local.engine import Engine, Generation
from loopwright.schema import Event


class Played(NamedTuple):
    """An episode, and the drawn tokens of each of its turns."""

    episode: Episode
    drawn: list[Generation]


class Draw(NamedTuple):
    """One episode to play: a line of the data, and the seed of its draws."""

    row: dict[str, Any]
    seed: int


class Sessions:
    """Plays episodes of a loop. Use it in a `with` block: sessions lie in scratch databases until they are scored."""

    def __init__(
        self, loop: Loop, episodes: EpisodesConfig, model: BaseModelConfig, drawing: DrawingConfig, engine: Engine
    ) -> None:
        self._loop, self._episodes, self._model, self._drawing = loop, episodes, model, drawing
        self._engine = engine
        self._stack = ExitStack()
        self._folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="loopwright-grpo-")))
        self._free: SimpleQueue[Memory] = SimpleQueue()  # a database for each thread: SQLite lets one write at a time
        for k in range(drawing.at_once):
            self._free.put(self._stack.enter_context(open_memory(f"sqlite:///{self._folder / f'{k}.sqlite'}")))
        self._threads = self._stack.enter_context(ThreadPoolExecutor(drawing.at_once, "loopwright-episode"))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def play(self, draws: Iterable[Draw]) -> list[Played]:
        """All episodes, in their order.

        Raises:
            LoopwrightError: what a session raised, beside a model that never kept its format: that counts as a failure.
        """
        return list(self._threads.map(self._play, draws))

    def _play(self, draw: Draw) -> Played:
        memory = self._free.get()
        try:
            policy = make_policy(self._engine, self._model, self._drawing, memory.blobs, draw.seed)
            models: dict[str, str | BaseChatModel] = {**self._episodes.models, self._episodes.role: policy}
            session = self._loop.start(memory, models=models, devices=self._folder, **draw.row)
            try:
                session.run()
            except OperatorError as error:
                if type(error) is not OperatorError:  # the memory or the ledger, not the model
                    raise
            status, state = session.status, session.state
            played = played_of(draw.row, memory.events.read(session.id), policy, self._episodes.role, status, state)
            memory.retention.prune(session.id)
            for left in self._folder.glob(f"{session.id}*"):
                left.unlink()
            return played
        finally:
            self._free.put(memory)


def played_of(
    row: dict[str, Any], record: Sequence[Event], policy: Policy, role: str, status: str, state: dict[str, Any]
) -> Played:
    """A session's record and what its policy drew, as an episode. The record says which drawn reply a turn is."""
    left = list(policy.drawn)
    turns: list[Turn] = []
    drawn: list[Generation] = []
    opening: list[Happened] = []
    since = opening
    for event in record:
        if event.kind == "replied" and event.payload["role"] == role and "probabilities" not in event.payload:
            asked = _said(left, policy, event.payload["reply"])
            turns, since = _closed(turns, since), []
            turns.append(_turn(asked, policy, is_exact=event.payload["is_exact"]))
            drawn.append(asked.generation)
        else:
            since.append(Happened(kind=event.kind, payload=event.payload))
    turns = _closed(turns, since)
    for asked in left:  # whose reply nothing could be made of
        turns.append(_turn(asked, policy, is_exact=False))
        drawn.append(asked.generation)
    return Played(Episode(row=row, turns=tuple(turns), opening=tuple(opening), status=status, state=state), drawn)


def _closed(turns: list[Turn], since: list[Happened]) -> list[Turn]:
    """`turns` with what happened since the last one as its events."""
    return [*turns[:-1], turns[-1].model_copy(update={"events": tuple(since)})] if turns else []


def _said(left: list[Asked], policy: Policy, text: str) -> Asked:
    """The oldest drawn reply that reads so, taken off `left`; a tool call is recorded without its marks."""
    at = next((k for k, asked in enumerate(left) if text in text_of(asked, policy)), 0)
    return left.pop(at)


def text_of(asked: Asked, policy: Policy) -> str:
    """The drawn reply as text."""
    return policy.decode(asked.generation.tokens)


def _turn(asked: Asked, policy: Policy, *, is_exact: bool) -> Turn:
    return Turn(text=text_of(asked, policy), is_exact=is_exact, n_tokens=len(asked.generation.trace))
