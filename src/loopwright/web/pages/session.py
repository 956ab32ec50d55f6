"""One session: the picture, what it asks, what happened, and everything that can be done to it."""

import asyncio
from typing import Any

from markupsafe import Markup
from nicegui import events, ui

from loopwright.errors import LoopwrightError
from loopwright.graphs.loop.lines import visible
from loopwright.graphs.sessions import headline
from loopwright.graphs.step_view import Pointed
from loopwright.graphs.steps import SessionStep
from loopwright.web.access import SessionId
from loopwright.web.console import SessionView
from loopwright.web.pages.forms import hinted
from loopwright.web.pages.frame import RESPONSE_S, Frame, attempt, author, warn
from loopwright.web.pages.looking import Looking
from loopwright.web.pages.models import ModelsDialog
from loopwright.web.pages.parts import badge, session_url
from loopwright.web.pages.questions import Questions
from loopwright.web.pages.record import Record

REFRESH_S = 0.25
LET_GO_S = 10.0
"""How long a stopped session may take to let go before it is rewound."""


def session_page(frame: Frame) -> None:
    """The page of one session."""

    @ui.page("/sessions/{session_id}", title="Session · Loopwright", response_timeout=RESPONSE_S)
    async def session(session_id: SessionId) -> None:
        try:
            view = await asyncio.to_thread(frame.console.view, session_id)
        except LoopwrightError as error:
            with frame.page():
                ui.label(visible(str(error))).classes("lw-error")
            return
        ui.page_title(f"{visible(session_id)} · Loopwright")
        with frame.page(session_id=session_id):
            page = SessionPage(frame, view)
        await page.refresh()
        ui.timer(REFRESH_S, page.refresh, immediate=False)


class SessionPage:
    """What one tab shows of one session, and does to it."""

    def __init__(self, frame: Frame, view: SessionView) -> None:
        self._frame, self._console = frame, frame.console
        self._id, self._author = view.row.id, author()
        self._told: Any = None
        self._steps: list[SessionStep] = []
        self._n_read = 0
        self._head(view)
        with ui.element("div").classes("lw-session"):
            with ui.element("div").classes("lw-column"):
                self._looking = Looking(self._console, view, self._step_actions)
            with ui.element("div").classes("lw-column"):
                self._questions = Questions(self._answer)
                self._speaking = self._speaking_card()
                self._say_card(view)
                self._record = Record(self._console, view)
        ui.on("lw_point", self._pointed)
        self._menu = ui.dialog().props('aria-label="What do you mean?"')

    async def refresh(self) -> None:
        """Show what is new."""
        try:
            view = await asyncio.to_thread(self._console.view, self._id)
            if len(view.events) != self._n_read:
                self._steps, self._n_read = await asyncio.to_thread(self._console.steps, self._id), len(view.events)
        except LoopwrightError as error:  # pruned, or the memory is away
            self._wrong.set_text(str(error))
            return
        self._wrong.set_text("")
        told = (view.status, view.is_held)
        if told != self._told:
            self._told = told
            self._status.set_content(badge(view.status))
            can_go_on = not view.is_held and not view.row.has_ended
            self._go_on.set_visibility(can_go_on)
            self._models.set_visibility(can_go_on and bool(view.row.config.get("models")))
            self._pause.set_visibility(view.is_held)
        self._questions.show(view)
        self._speaking.set_visibility(bool(view.speaking))
        if view.speaking:
            self._spoken.set_content(Markup("<pre>{}</pre>").format(view.speaking))
        self._looking.show(view, self._steps)
        self._record.show(view, self._looking.chosen)

    # What is on the page

    def _head(self, view: SessionView) -> None:
        with ui.element("div").classes("lw-head"):
            with ui.element("div").classes("grow"):
                ui.html(Markup("<h1>{}</h1>").format(self._id), sanitize=False)
                with ui.element("div").classes("lw-row"):
                    self._status = ui.html(badge(view.status), sanitize=False).props('role="status"')
                    ui.label(f"{view.row.loop} · {headline(view.loop, view.row)}").classes("lw-soft")
                    if view.row.parent:
                        ui.link(f"forked from {view.row.parent}", session_url(view.row.parent))
            self._go_on = ui.button("Go on", on_click=lambda: self._resume()).props("unelevated")
            self._models = ui.button("Models …", on_click=ModelsDialog(view, self._resume).open).props("outline")
            self._pause = ui.button("Pause", on_click=self._come_to_rest).props("outline")
            ui.button("Export", on_click=lambda: ui.navigate.to(f"/api{session_url(self._id)}/report")).props("outline")
            ui.button("Compare", on_click=lambda: ui.navigate.to(f"{session_url(self._id)}/compare")).props("outline")
            ui.html(
                '<button class="lw-stop" aria-keyshortcuts="Escape">STOP<small>or press Escape</small></button>',
                sanitize=False,
            )
        self._wrong = ui.label().classes("lw-error").props('role="alert"')

    def _speaking_card(self) -> ui.element:
        with ui.element("div").classes("lw-card lw-speaking") as card:
            ui.html("<h2>The model is saying</h2>", sanitize=False)
            self._spoken = ui.html("", sanitize=False)
        card.set_visibility(False)
        return card

    def _say_card(self, view: SessionView) -> None:
        with ui.element("div").classes("lw-card"), ui.element("div").classes("lw-row no-wrap"):
            box = ui.input("Say something to the session").props("outlined dense").classes("grow").style("flex: 1")
            hinted(box, self._console.language(view.row).examples)

            async def send() -> None:
                text = (box.value or "").strip()
                if text and await self._say(text):
                    box.set_value("")

            box.on("keydown.enter", send)
            ui.button("Send", on_click=send).props("unelevated")

    def _step_actions(self, step: SessionStep) -> None:
        ui.button("Go back to this step", on_click=lambda: self._rewind(step.step)).props("outline")
        ui.button("Fork here", on_click=lambda: self._fork(step.step)).props("outline")

    # What is done

    async def _say(self, text: str) -> bool:
        said = await attempt(self._console.say, self._id, text, author())
        if said is not None and said["kind"] == "unclear":
            warn(said["question"])
        if said is not None and "answer" in said:
            ui.notify(visible(said["answer"]), multi_line=True, timeout=0, close_button="Close", position="top")
        return said is not None

    async def _answer(self, name: str, kind: Any, **how: Any) -> None:
        await attempt(self._console.answer, self._id, name, kind, author(), **how)
        await self.refresh()

    async def _resume(self, models: dict[str, str] | None = None) -> None:
        self._go_on.props("loading")
        await attempt(self._console.resume, self._id, models)
        self._go_on.props(remove="loading")

    async def _come_to_rest(self) -> None:
        self._pause.props("loading")
        await attempt(self._console.pause, self._id, author())
        self._pause.props(remove="loading")

    async def _rewind(self, step: int) -> None:
        """Back to a step. A session that runs is stopped first, which is on record."""
        if (await asyncio.to_thread(self._console.view, self._id)).is_held:
            await attempt(self._console.stop, self._id, author(), f"STOP: go back to step {step}")
            for _ in range(round(LET_GO_S / REFRESH_S)):
                if not (await asyncio.to_thread(self._console.view, self._id)).is_held:
                    break
                await asyncio.sleep(REFRESH_S)
        if await attempt(self._console.rewind, self._id, step) is not None:
            self._looking.follow()
            ui.notify(f"Back at step {step}. Say what should be different, then go on.", type="positive")

    async def _fork(self, step: int) -> None:
        child = await attempt(self._console.fork, self._id, step)
        if child is not None:
            ui.navigate.to(session_url(child))

    async def _pointed(self, event: events.GenericEventArguments) -> None:
        """Offer what pointing there may mean."""
        at, to = event.args["at_px"], event.args.get("to_px")
        pointed = Pointed((at[0], at[1]), None if to is None else (to[0], to[1]))
        meant = await attempt(self._console.point, self._id, event.args["branch"], event.args["step"], pointed)
        if not meant:
            return
        self._menu.clear()
        with self._menu, ui.element("div").classes("lw-card lw-column"):
            ui.html("<h2>What do you mean?</h2>", sanitize=False)
            for each in meant:

                async def send(text: str = each.text) -> None:
                    self._menu.close()
                    await self._say(text)

                button = ui.button(visible(each.text), on_click=send).props("outline align=left")
                button.props["title"] = visible(each.understood)
            ui.button("Nothing", on_click=self._menu.close).props("flat")
        self._menu.open()
