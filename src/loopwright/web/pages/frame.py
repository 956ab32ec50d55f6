"""What every page has: the bar at the top, who speaks, and one way to say what went wrong."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal, ParamSpec, TypeVar
from urllib.parse import quote, unquote

from nicegui import ui

from loopwright.errors import LoopwrightError
from loopwright.web.access import EXPIRES
from loopwright.web.console import Console

P = ParamSpec("P")
T = TypeVar("T")
AUTHOR_COOKIE = "loopwright_author"
YEAR_S = 31_536_000
RESPONSE_S = 60.0
"""How long a page may take to be made: the machine may be busy with the sessions."""
PRIMARY, POSITIVE, NEGATIVE = "#0b62a4", "#1b7a3d", "#b3261e"
"""White on each of them has a contrast above 4.5."""


class Frame:
    """Makes pages over one console."""

    def __init__(self, console: Console) -> None:
        self.console = console

    @contextmanager
    def page(self, current: str = "", session_id: str = "") -> Iterator[None]:
        """The frame of a page; what is made inside goes into its middle."""
        ui.colors(primary=PRIMARY, positive=POSITIVE, negative=NEGATIVE)
        request = ui.context.client.request
        expires = request.scope.get(EXPIRES) if request else None
        with ui.element("header").classes("lw-top"):
            ui.label("Loopwright").classes("brand")
            for where, name in (("/", "Sessions"), ("/inbox", "Inbox"), ("/start", "Start")):
                link = ui.link(name, where)
                if where == current:
                    link.props('aria-current="page"')
            self._who()
            ui.label("Research software, not a medical device").classes("notice")
        ui.html('<div id="lw-banner" class="lw-banner" role="status" aria-live="assertive"></div>', sanitize=False)
        with ui.element("main").classes("lw-main") as main:
            if expires is not None:
                main.props(f"data-lasts={expires - time.time() + 1:.0f}")
            if session_id:
                main.props(f'data-session="{quote(session_id, safe="")}"')
            yield

    def _who(self) -> None:
        def keep(event: object) -> None:
            name = quote(str(who.value or "").strip()[:200], safe="")
            ui.run_javascript(f'document.cookie = "{AUTHOR_COOKIE}={name}; path=/; max-age={YEAR_S}; SameSite=Strict"')

        with ui.element("label").classes("you"):
            ui.label("You are")
            who = ui.input(value=author(), placeholder="your name")
            who.props('dense borderless aria-label="Your name" maxlength=200').on("change", keep)


def author() -> str:
    """Who sits at this tab, as its browser remembers."""
    request = ui.context.client.request
    return unquote((request.cookies.get(AUTHOR_COOKIE) if request else None) or "clinician")


async def attempt(action: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | None:
    """Do something in a thread; where it is refused, say why, and return None."""
    try:
        return await asyncio.to_thread(action, *args, **kwargs)
    except LoopwrightError as error:
        warn(str(error), "negative")
        return None


def warn(text: str, kind: Literal["warning", "negative"] = "warning") -> None:
    """Say what went wrong, for long enough to be read."""
    ui.notify(text, type=kind, multi_line=True, close_button="OK", timeout=12_000)
