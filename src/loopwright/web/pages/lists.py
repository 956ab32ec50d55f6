"""The sessions of all loops, and the inbox of what waits for a person."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from markupsafe import Markup
from nicegui import ui

from loopwright.web.console import Overview
from loopwright.web.pages.frame import RESPONSE_S, Frame
from loopwright.web.pages.parts import item

REFRESH_S = 1.0
PER_PAGE = 50


def sessions_page(frame: Frame) -> None:
    """The page of all sessions."""

    @ui.page("/", title="Sessions · Loopwright", response_timeout=RESPONSE_S)
    async def sessions() -> None:
        n_shown = PER_PAGE

        async def more() -> None:
            nonlocal n_shown
            n_shown += PER_PAGE
            await shown()

        with frame.page("/"):
            with ui.element("div").classes("lw-head"):
                ui.html("<h1>Sessions</h1>", sanitize=False).classes("grow")
                ui.button("Start a session", on_click=lambda: ui.navigate.to("/start")).props("unelevated")
            shown = await _list(
                lambda: frame.console.sessions(limit=n_shown),
                "No sessions yet. Start one here, or with `loopwright run`.",
            )
            if len(frame.console.memory.sessions.list()) > PER_PAGE:
                ui.button("Show earlier ones", on_click=more).props("flat")


def inbox_page(frame: Frame) -> None:
    """The page of what waits for a person."""

    @ui.page("/inbox", title="Inbox · Loopwright", response_timeout=RESPONSE_S)
    async def inbox() -> None:
        with frame.page("/inbox"):
            ui.html("<h1>Waiting for a person</h1>", sanitize=False)
            await _list(frame.console.inbox, "Nothing waits for a person.")


async def _list(read: Callable[[], Sequence[Overview]], empty: str) -> Callable[[], Awaitable[None]]:
    """A list that is kept up to date; returns what shows it anew."""
    at = ui.html("", sanitize=False).props('aria-live="polite"')
    told = ""

    async def refresh() -> None:
        nonlocal told
        found = await asyncio.to_thread(read)
        items = Markup("").join(map(item, found))
        html = Markup('<div class="lw-list">{}</div>').format(items) if found else Markup("<p>{}</p>").format(empty)
        if html != told:
            told = html
            at.set_content(html)

    await refresh()
    ui.timer(REFRESH_S, refresh, immediate=False)
    return refresh
