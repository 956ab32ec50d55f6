"""The cards of open questions: the exact act, yes, no with a reason, edit, or an answer in words."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any, NamedTuple

from nicegui import ui

from loopwright.agents.sessions.gate import APPROVAL
from loopwright.errors import BadInput
from loopwright.graphs.loop.lines import visible
from loopwright.settings import settings
from loopwright.web.console import AnswerKind, SessionView, find_tool
from loopwright.web.pages.forms import SchemaForm
from loopwright.web.pages.parts import act_table
from loopwright.web.reading import Asked

Answer = Callable[..., Awaitable[Any]]
"""(question id, kind, text=, arguments=): sends an answer."""


class Card(NamedTuple):
    """An open question on the page."""

    at: ui.element
    state: ui.label
    answers: ui.element


class Questions:
    """The open questions of one page. A card stays as it is while its question does, with what is typed into it."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._at = ui.element("section").classes("lw-column lw-asks")
        self._at.props('aria-label="Open questions" aria-live="polite"')
        self._cards: dict[str, Card] = {}

    def show(self, view: SessionView) -> None:
        """Show the questions that are open now."""
        open_ = {asked.question.id: asked for asked in view.questions}
        for gone in self._cards.keys() - open_.keys():
            self._cards.pop(gone).at.delete()
        with self._at:
            for name, asked in open_.items():
                if name not in self._cards:
                    self._cards[name] = self._card(view, asked)
                self._cards[name].state.set_text(_state_of(view, asked))
                self._cards[name].answers.set_visibility(asked.answer is None)

    def _card(self, view: SessionView, asked: Asked) -> Card:
        question = asked.question
        with ui.element("div").classes("lw-card lw-ask") as card:
            ui.label(f"{question.id} · step {asked.step}").classes("lw-soft lw-small")
            ui.label(visible(question.text)).classes("what")
            if asked.act is not None:
                ui.html(act_table(asked.act["arguments"]), sanitize=False)
            state = ui.label().classes("lw-soft lw-small")
            with ui.element("div").classes("lw-column") as answers:
                row = ui.element("div").classes("lw-row")
                extra = ui.element("div").classes("lw-column")  # below: no button moves away from under a finger
                with row:
                    self._buttons(view, asked, extra)
        return Card(card, state, answers)

    def _buttons(self, view: SessionView, asked: Asked, extra: ui.element) -> None:
        name, options = asked.question.id, asked.question.options

        async def say(kind: AnswerKind, text: str = "") -> None:
            await self._answer(name, kind, text=text)

        if "approve" in options:
            ui.button("Approve", on_click=lambda: say("approve")).props("unelevated color=positive")
        if "reject" in options:
            ui.button("Reject …", on_click=lambda: self._reject(name, extra)).props("outline color=negative")
        if asked.question.about == APPROVAL and asked.act is not None and view.loop is not None:
            ui.button("Edit …", on_click=lambda: self._edit(view, asked, extra)).props("outline")
        if asked.question.about != APPROVAL:
            for option in (each for each in options if each not in ("approve", "reject")):
                ui.button(option, on_click=partial(say, "text", option)).props("outline")

    def _reject(self, name: str, extra: ui.element) -> None:
        extra.clear()
        with extra, ui.element("div").classes("lw-row"):
            reason = ui.input("Reason").props("outlined dense autofocus").classes("w-64")

            async def send() -> None:
                await self._answer(name, "reject", text=reason.value)

            reason.on("keydown.enter", send)
            ui.button("Send the no", on_click=send).props("unelevated color=negative")

    def _edit(self, view: SessionView, asked: Asked, extra: ui.element) -> None:
        assert view.loop is not None and asked.act is not None
        tool = find_tool(view.loop, asked.act["tool"])
        extra.clear()
        with extra:
            ui.label("An edited act is another act: the guard judges it, and it is sent with your consent.").classes(
                "lw-soft lw-small"
            )
            form = SchemaForm(tool.input_model.model_json_schema(), asked.act["arguments"])
            wrong = ui.label().classes("lw-error").props('role="alert"')

            async def send() -> None:
                try:
                    arguments = form.values()
                except BadInput as error:
                    wrong.set_text(str(error))
                    return
                await self._answer(asked.question.id, "instead", arguments=arguments)

            ui.button("Do this instead", on_click=send).props("unelevated")


def _state_of(view: SessionView, asked: Asked) -> str:
    """Since when it waits, or who answered what and how long that holds."""
    holds_s = settings().approval.expires_s
    if asked.answer is not None:
        left_s = holds_s - (datetime.now(UTC) - asked.answer.received_at).total_seconds()
        expires = f"A yes holds for {_minutes(left_s)} more." if asked.question.about == APPROVAL else ""
        return f"{asked.answer.author} said “{asked.answer.text}”, which the session has not heard yet. {expires}"
    waited = _minutes((datetime.now(UTC) - asked.asked_at).total_seconds())
    holds = f" A yes expires after {_minutes(holds_s)}." if asked.question.about == APPROVAL else ""
    nobody = ""
    if not view.is_held:
        how = "an answer starts it again" if view.status == "waiting" else "answer, and go on"
        nobody = f" Nobody runs the session now: {how}."
    return f"Asked {waited} ago.{holds}{nobody}"


def _minutes(seconds: float) -> str:
    if seconds < 60:
        return f"{max(0, round(seconds))} s"
    return f"{round(seconds) // 60} min {round(seconds) % 60:02d} s"
