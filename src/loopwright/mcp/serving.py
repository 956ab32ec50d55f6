"""Serves the server: over standard input and output, or over HTTP with the console's tokens."""

import logging
from pathlib import Path
from typing import Any

import anyio
import uvicorn
from mcp.server import Server
from mcp.server.stdio import stdio_server

from loopwright.web.access import Gatekeeper, issue_token, key_of

PATH = "/mcp"


def serve_stdio(server: "Server[Any]") -> None:
    """Serve one client, until it closes our input."""

    async def serve() -> None:
        async with stdio_server() as (reading, writing):
            await server.run(reading, writing, server.create_initialization_options())

    anyio.run(serve)


class HttpServer:
    """The server over streamable HTTP: `token` is a bearer token, and part of `url`."""

    def __init__(self, server: "Server[Any]", folder: Path, *, host: str, port: int, token_hours: float) -> None:
        key = key_of(folder)
        self.token = issue_token(key, token_hours * 3600)
        named = f"[{host}]" if ":" in host else host
        self.url = f"http://{named}:{port}{PATH}"
        app = Gatekeeper(server.streamable_http_app(streamable_http_path=PATH, host=host), key=key)
        self._config = uvicorn.Config(app, host=host, port=port, log_level=logging.WARNING, timeout_graceful_shutdown=1)

    def run(self) -> None:
        """Serve until the process is interrupted."""
        uvicorn.Server(self._config).run()
