"""One session whose agents may consult a scripted model, opened anew as often as a test needs."""

from collections.abc import Callable, Iterable
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult

from loopwright.agents.consult import Advisor, Consult
from loopwright.agents.journal import Journal, Moment, ReplayJournal
from loopwright.memory import Memory
from loopwright.models.asking import LoopwrightChatModel
from loopwright.models.cards import Decoding, ModelCard
from loopwright.models.scripted import ScriptedChatModel
from loopwright.schema import CancelToken, Event

CARD = ModelCard(name="told", kind="scripted", replies=("unused",), decoding=Decoding(seed=7))


class Answering(LoopwrightChatModel):
    """Answers each question as `answer` does, given the last thing that was asked; questions may come at once."""

    answer: Callable[[str], str]

    @property
    def _llm_type(self) -> str:
        return "answering"

    def _generate(self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **_: Any) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=AIMessage(self.answer(messages[-1].text)))])


class Desk:
    """`events` are those of the session so far."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._session_id = self._held()

    @property
    def events(self) -> list[Event]:
        return self._memory.events.read(self._session_id)

    def scripted(self, *replies: str, step: int = 0, visit: int = 0) -> tuple[Consult, ScriptedChatModel]:
        """A door to a model that says what it is told to say, as a process that just began has it."""
        model = ScriptedChatModel(replies=replies)
        return self.asking(model, step=step, visit=visit), model

    def asking(self, model: BaseChatModel | None, *, step: int = 0, visit: int = 0) -> Consult:
        """The same to any model; None: the loop has none."""
        return _consult(Journal(self._memory, self._session_id), model, step, visit)

    def replaying(self, record: Iterable[Event]) -> Consult:
        """A door to nobody, in a replay of `record`."""
        return _consult(ReplayJournal(self._memory, self._held(), record), None, 0, 0)

    def _held(self) -> str:
        """A new session, held until the memory is closed."""
        return self._memory.sessions.acquire(self._memory.sessions.create("carm", {}).id).session_id


def _consult(journal: Journal, model: BaseChatModel | None, step: int, visit: int) -> Consult:
    def opened() -> BaseChatModel:
        assert model is not None
        return model

    advisor = Advisor(CARD, "carm", opened) if model is not None else None
    return Consult(journal, Moment(0, step), visit=visit, advisor=advisor, cancel=CancelToken())
