"""The console's pages, made with NiceGUI. They show the log and call the console; they keep nothing of their own.

NiceGUI is one process and runs a page's code again for each tab, reload and reconnection, so a page is made of the log
alone. What has to work without it (STOP, pointing) is in `static/console.js`.
"""

from pathlib import Path

from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles
from nicegui import Client, ui
from nicegui import app as pages_app
from starlette.requests import Request
from starlette.responses import Response

from loopwright.web.console import Console
from loopwright.web.pages.compare import compare_page
from loopwright.web.pages.frame import Frame
from loopwright.web.pages.lists import inbox_page, sessions_page
from loopwright.web.pages.session import session_page
from loopwright.web.pages.start import start_page

STATIC = Path(__file__).parent.parent / "static"
RECONNECT_S = 20.0
"""How long a page is kept for a tab whose connection was cut."""


def add_pages(app: FastAPI, console: Console) -> None:
    """Add the pages to an application."""
    frame = Frame(console)
    for add in (sessions_page, inbox_page, start_page, session_page, compare_page):
        add(frame)
    _add_page_of_nothing(frame)
    app.mount("/assets", StaticFiles(directory=STATIC))
    ui.add_head_html(
        '<link rel="stylesheet" href="/assets/console.css"><script defer src="/assets/console.js"></script>',
        shared=True,
    )
    ui.run_with(
        app,
        title="Loopwright",
        language="en-US",
        tailwind=False,
        reconnect_timeout=RECONNECT_S,
        show_welcome_message=False,
    )


def _add_page_of_nothing(frame: Frame) -> None:
    @pages_app.exception_handler(404)
    def nothing_there(request: Request, _: Exception) -> Response:
        with Client(ui.page("", title="Not found · Loopwright"), request=request) as client, frame.page():
            ui.label(f"The console has no page {request.url.path!r}.").classes("lw-error")
        return client.build_response(request, 404)
