"""What a node asks humans and hears of them, on LangGraph's `interrupt`."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from langgraph.types import interrupt

from loopwright.agents.sessions.gate import Heard, Question
from loopwright.errors import DeveloperError
from loopwright.graphs.loop.human import interrupt_of
from loopwright.graphs.loop.visit import NodeVisit
from loopwright.schema import Act, Feedback, kind_of

Until = Callable[[Sequence[Heard]], bool]


def is_answer(heard: Sequence[Heard]) -> bool:
    """Whether anything that was heard answers a question: all but notes."""
    return any(one.kind not in ("note", "unclear") for one in heard)


class Questions:
    """The questions of one visit of a node."""

    def __init__(self, ctx: NodeVisit) -> None:
        self._ctx = ctx

    def feedback(self, key: str, types: Sequence[type[Feedback]]) -> list[Any]:
        """Look, and take what is of `types`."""
        gate = self._ctx.runtime.gate
        kinds = {kind_of(each) for each in types}

        def is_wanted(one: Heard) -> bool:
            return not kinds or one.kind in kinds

        seen = gate.look(self._ctx.place(key), "heard", take=is_wanted)
        taken = gate.by_id(seen["taken"])
        if seen["unclear"] is not None:
            self._look_until_clear(f"{key}/hold")
            taken += gate.take(self._ctx.place(f"{key}/taken"), is_wanted)
        return [gate.language.load(one.words) for one in taken] if kinds else taken

    def hold_while_unclear(self, unclear: int | None) -> None:
        """At the start of a node: nothing goes on while a message is not understood."""
        if unclear is not None:
            self._converse(f"{self._ctx.visit.key}/hold", None, lambda _: True)

    def ask(self, key: str, text: str, options: Sequence[str], about: str, until: Until) -> list[Heard]:
        """Ask until there is an answer; what was heard counts as read by the loop."""
        heard = self.answers(key, text, options, about, until)
        ids = {one.message_id for one in heard}
        self._ctx.runtime.gate.take(self._ctx.place(f"{key}/taken"), lambda one: one.message_id in ids)
        return heard

    def answers(
        self, key: str, text: str, options: Sequence[str], about: str, until: Until, act: Act | None = None
    ) -> list[Heard]:
        """As `ask`; what was heard is still there to be read. `act` is what consent is asked for."""

        def question(name: str) -> Question:
            return Question(id=name, about=about, text=text, options=tuple(options))

        return self._converse(key, question, until, act)

    def look(self, key: str, more: Callable[[], dict[str, Any]]) -> tuple[list[Heard], dict[str, Any]]:
        """One look, which holds while something is not understood: what was heard, and the entry, with `more`."""
        gate = self._ctx.runtime.gate
        seen = gate.look(self._ctx.place(key), "heard", more)
        heard = gate.by_id(one["message_id"] for one in seen["messages"])
        if seen["unclear"] is not None:
            heard += self._look_until_clear(f"{key}/hold")
        return heard, seen

    def _look_until_clear(self, key: str) -> list[Heard]:
        return self._converse(key, None, lambda _: True)

    def _converse(
        self, key: str, question: Callable[[str], Question] | None, until: Until, act: Act | None = None
    ) -> list[Heard]:
        gate, place = self._ctx.runtime.gate, self._ctx.place
        asked: tuple[Question, datetime] | None = None
        since, turn = -1, 0
        while True:
            known = self._ctx.runtime.recorder.expects(f"{key}/{turn}")
            if since < 0:
                since = gate.n_heard if known is None else known["since"]
            seen = gate.look(place(f"{key}/{turn}"), "heard", since=since)
            heard = _meant(gate.by_id(seen["seen"]), asked)
            if seen["unclear"] is not None:
                self._clarify(f"{key}/{turn}", seen["unclear"], f"{key}/{turn + 1}", since + len(seen["seen"]))
            elif until(heard):
                if asked is not None:
                    gate.close(place(f"{key}/answered"), asked[0].id, [one.message_id for one in heard])
                return heard
            else:
                assert question is not None, "without a question one look is enough"
                asked = asked or gate.ask(place(f"{key}/asked"), question)
                self._wait(asked[0], f"{key}/{turn + 1}", since + len(seen["seen"]), act)
            turn += 1

    def _clarify(self, key: str, message_id: int, next_look: str, n_heard: int) -> None:
        gate = self._ctx.runtime.gate
        text = gate.clarification(message_id)
        place = self._ctx.place(f"{key}/clarify")
        asked, _ = gate.ask(place, lambda name: Question(id=name, about="unclear", text=text))
        self._wait(asked, next_look, n_heard)
        gate.close(self._ctx.place(f"{key}/clarified"), asked.id, [])

    def _wait(self, question: Question, next_look: str, n_heard: int, act: Act | None = None) -> None:
        """Return when more than the first `n_heard` messages can be heard; else the graph rests (`interrupt`)."""
        runtime = self._ctx.runtime
        if runtime.recorder.expects(next_look) is not None:
            return
        if self._ctx.is_item:
            raise DeveloperError("An item of `ctx.map` asks a human. Ask before or after the map.")
        runtime.require_live(next_look)
        while not runtime.has_unread() and runtime.gate.n_heard <= n_heard:  # one that runs beside it may have heard it
            value = interrupt(interrupt_of(question, act))
            ordinal = self._ctx.next_resume()
            if not isinstance(value, bool | None):
                runtime.deliver(self._ctx.place(f"{self._ctx.visit.key}/resume.{ordinal}"), value)


def _meant(heard: Sequence[Heard], asked: tuple[Question, datetime] | None) -> list[Heard]:
    """Without what is for another question, and without a yes that was said before this one was asked."""
    meant = []
    for one in heard:
        if one.question is not None and (asked is None or one.question != asked[0].id):
            continue
        if one.kind == "approve" and (asked is None or one.received_at < asked[1]):
            continue
        meant.append(one)
    return meant
