"""The form that begins a session, made of the loop's configuration."""

import asyncio

from nicegui import ui

from loopwright.errors import BadInput, LoopwrightError
from loopwright.graphs.loop.loop import Loop
from loopwright.web.api import roles_of
from loopwright.web.pages.forms import SchemaForm, hinted
from loopwright.web.pages.frame import RESPONSE_S, Frame
from loopwright.web.pages.parts import session_url

IN_A_BROWSER = {"approval": "human", "on_uncertain": "ask"}
"""Who sits at the console wants to be asked."""


def start_page(frame: Frame) -> None:
    """The page that begins a session."""

    @ui.page("/start", title="Start · Loopwright", response_timeout=RESPONSE_S)
    async def start(loop: str = "") -> None:
        found = frame.console.loops
        usable = [name for name, each in found.items() if isinstance(each, Loop)]
        with frame.page("/start"):
            ui.html("<h1>Start a session</h1>", sanitize=False)
            if not usable:
                ui.label("No loop is installed.")
                return
            chosen = loop if loop in usable else usable[0]
            select = ui.select(usable, value=chosen, label="Loop").props("outlined").classes("lw-form")
            select.on_value_change(lambda event: ui.navigate.to(f"/start?loop={event.value}"))
            _form(frame, frame.console.loop(chosen))
            for name, each in found.items():
                if isinstance(each, str):
                    ui.label(f"The loop {name} cannot be loaded: {each}").classes("lw-error")


def _form(frame: Frame, loop: Loop) -> None:
    ui.label(loop.summary).classes("lw-soft")
    with ui.element("div").classes("lw-card lw-form"):
        form = SchemaForm(loop.config.model_json_schema(), IN_A_BROWSER, loop=loop.name)
        roles = roles_of(loop)
        models: dict[str, ui.input] = {}
        for role, card in (roles or {}).items():
            models[role] = ui.input(f"model of the {role}", value=card or "").props("outlined dense")
            hinted(models[role], "a model card's name or path")
        more = ui.textarea("models (ROLE=CARD, one a line)") if roles is None else None
        if more is not None:
            hinted(more.props("outlined dense autogrow rows=1"), "where other models than the loop's own are wanted")
        wrong = ui.label().classes("lw-error").props('role="alert"')

        async def begin() -> None:
            wrong.set_text("")
            try:
                config = form.values()
            except BadInput as error:
                wrong.set_text(str(error))
                return
            typed = {role: (entry.value or "").strip() for role, entry in models.items()}
            given = {role: card for role, card in typed.items() if card}
            lines = (more.value or "").splitlines() if more is not None else []
            given |= {role.strip(): card.strip() for role, _, card in (line.partition("=") for line in lines) if card}
            button.props("loading")
            try:
                ui.navigate.to(session_url(await asyncio.to_thread(frame.console.start, loop.name, config, given)))
            except LoopwrightError as error:
                wrong.set_text(str(error))
            finally:
                button.props(remove="loading")

        button = ui.button("Start", on_click=begin).props("unelevated")
