"""Puts API and pages together and serves them: one process, on the loopback interface unless told otherwise."""

import logging
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from loopwright.web.access import Gatekeeper, issue_token, key_of
from loopwright.web.api import add_api
from loopwright.web.console import Console


class Served:
    """A console that is ready to be served."""

    def __init__(self, console: Console, *, host: str, port: int, token_hours: float) -> None:
        console.warm_up()
        key = key_of(console.folder)
        app = FastAPI(title="Loopwright", docs_url=None, redoc_url=None, openapi_url="/api/openapi.json")
        add_api(app, console)
        _add_pages(app, console)
        app.add_middleware(Gatekeeper, key=key)
        named = f"[{host}]" if ":" in host else host
        self.url = f"http://{named}:{port}/?token={issue_token(key, token_hours * 3600)}"
        # A stream of events ends with its client; a server that ends does not wait for its clients.
        self._config = uvicorn.Config(app, host=host, port=port, log_level=logging.WARNING, timeout_graceful_shutdown=1)

    def run(self) -> None:
        """Serve until the process is interrupted."""
        uvicorn.Server(self._config).run()


def _add_pages(app: FastAPI, console: Console) -> None:
    from loopwright.web.pages import add_pages

    add_pages(app, console)


def console_folder(data_dir: Path) -> Path:
    """Where the console keeps its key, its workers' log and what models are saying."""
    return data_dir / "console"
