"""How an agent asks a model inside a loop: every answer is on record before it is used, and is asked for once (rule 2).

An agent is handed a `Consult`, which is bound to one moment of one session. Each call is one event `consulted`; a node
that is run again, a resumed session and a replay find the answer there. Knows no loop.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property, partial
from typing import Any, TypeVar

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage

from loopwright.agents.journal import Journal, Moment, Payload
from loopwright.agents.role import ask, choose
from loopwright.errors import DeveloperError
from loopwright.models.answers import AnswerFormat, read
from loopwright.models.cards import ModelCard
from loopwright.schema import CancelToken

T = TypeVar("T")


class Advisor:
    """The model that a session asks, opened when it is first asked: a replay asks nobody."""

    def __init__(self, card: ModelCard, adapter: str | None, open_: Callable[[], BaseChatModel]) -> None:
        """`adapter` is the role of the card's adapters that is used, None for the base itself."""
        self.card = card
        self.adapter = adapter
        self._open = open_

    @cached_property
    def model(self) -> BaseChatModel:
        """The opened model."""
        return self._open()

    @property
    def facts(self) -> Payload:
        """What identifies it in the record."""
        return {"model": self.card.name, "adapter": self.adapter, "seed": self.card.decoding.seed}


class Consult:
    """One moment's door to the model. `visit` tells apart several visits of a node at the same moment."""

    def __init__(
        self, journal: Journal, at: Moment, *, visit: int, advisor: Advisor | None, cancel: CancelToken
    ) -> None:
        self._journal, self._at, self._visit = journal, at, visit
        self._advisor, self._cancel = advisor, cancel

    def reply(self, role: str, messages: Sequence[BaseMessage], form: AnswerFormat[T], *, name: str = "") -> T:
        """The model's answer in `role`, as a value of `form`. `name` tells apart the questions of one visit.

        Raises:
            OperatorError: no answer was in the form, after a few attempts.
            Stopped, Paused: the session was halted meanwhile.
        """
        return self.replies(role, {name: messages}, form)[name]

    def replies(self, role: str, prompts: Mapping[str, Sequence[BaseMessage]], form: AnswerFormat[T]) -> dict[str, T]:
        """Answers to several questions, by their names; they are asked at the same time. Raises as `reply`."""
        coming: dict[str, Future[Payload]] = {}
        with ThreadPoolExecutor(max_workers=len(prompts), thread_name_prefix="loopwright-consult") as threads:

            def answer(name: str) -> Payload:
                if not coming:
                    model = self._who.model  # opened here, once, not by each thread
                    unknown = [
                        n for n in prompts if self._journal.known(self._at, "consulted", self._key(role, n)) is None
                    ]
                    coming.update({n: threads.submit(self._ask, model, role, prompts[n], form) for n in unknown})
                return coming[name].result()

            said = {name: self._record(role, name, partial(answer, name)) for name in prompts}
        return {name: read(p["reply"], form).value for name, p in said.items()}

    def scores(
        self,
        role: str,
        messages: Sequence[BaseMessage],
        choices: Sequence[str],
        form: AnswerFormat[str],
        *,
        name: str = "",
    ) -> dict[str, float]:
        """How probable each of `choices` is, by the model. Raises as `reply`."""

        def answer() -> Payload:
            found = choose(self._who.model, messages, choices, form, cancel=self._cancel)
            likeliest = max(choices, key=found.probabilities.__getitem__)
            said = found.reply
            text, is_exact, attempts = (
                (said.text, said.is_exact, said.attempts) if said else (form.render(likeliest), True, 1)
            )
            return self._told(role, messages, text, is_exact, attempts) | {"probabilities": found.probabilities}

        probabilities: dict[str, float] = self._record(role, name, answer)["probabilities"]
        return probabilities

    @property
    def has_scores(self) -> bool:
        """Whether the model can score a closed set, as those can whose tokens are drawn here."""
        return self._who.card.kind == "local"

    def once(self, kind: str, produce: Callable[[], Payload]) -> Payload:
        """What something else than the model says of this moment, recorded as an event `kind`."""
        return self._journal.outside(self._at, kind, produce)

    def _ask(self, model: BaseChatModel, role: str, prompt: Sequence[BaseMessage], form: AnswerFormat[Any]) -> Payload:
        reply = ask(model, prompt, form, cancel=self._cancel)
        return self._told(role, prompt, reply.text, reply.is_exact, reply.attempts)

    def _told(self, role: str, messages: Sequence[BaseMessage], text: str, is_strict: bool, attempts: int) -> Payload:
        prompt = [{"role": message.type, "content": message.content} for message in messages]
        counts = {"is_strict": is_strict, "attempts": attempts}
        return {"role": role, **self._who.facts, "prompt": prompt, "reply": text, **counts}

    def _record(self, role: str, name: str, produce: Callable[[], Payload]) -> Payload:
        return self._journal.outside(self._at, "consulted", produce, name=self._key(role, name))

    def _key(self, role: str, name: str) -> str:
        return f"{role}.{self._visit}" + (f"/{name}" if name else "")

    @property
    def _who(self) -> Advisor:
        if self._advisor is None:
            raise DeveloperError("An agent asks a model, but this loop was opened without an `advisor`.")
        return self._advisor
