"""`loopwright mcp`: loops and tools for clients of the Model Context Protocol."""

from importlib.metadata import version
from importlib.util import find_spec
from typing import Annotated

import typer

from loopwright.cli.output import plain, stdout
from loopwright.cli.run_session import opened_memory
from loopwright.cli.serve import free_port, warn_if_open
from loopwright.errors import MissingDependency
from loopwright.settings import settings

PORT = 8421


def mcp(
    http: Annotated[
        bool, typer.Option("--http", help="Serve streamable HTTP in place of standard input and output.")
    ] = False,
    host: Annotated[str, typer.Option(help="The address to listen at, with `--http`.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port, with `--http`; 0: any that is free.")] = PORT,
    token_hours: Annotated[float, typer.Option(min=0.001, help="How long the token of `--http` holds.")] = 12.0,
    speaks_for_person: Annotated[
        bool,
        typer.Option(
            "--speaks-for-person",
            help="What the client says with `say` is what a person typed: it may approve acts. Without it a person "
            "approves in the client's forms, at the console, or with `loopwright feedback`.",
        ),
    ] = False,
    loop: Annotated[
        list[str] | None,
        typer.Option(
            "--loop",
            metavar="WHERE",
            help="`module:attribute` or YAML file of a loop that is not installed. May be given several times.",
        ),
    ] = None,
) -> None:
    """Serve loops and tools over the Model Context Protocol, on standard input and output or over HTTP."""
    if find_spec("mcp") is None:
        raise MissingDependency("The MCP server needs `mcp`. Install it: pip install 'loopwright[mcp]'")
    from loopwright.mcp.server import make_server
    from loopwright.mcp.service import Service
    from loopwright.mcp.serving import HttpServer, serve_stdio
    from loopwright.web.console import Console
    from loopwright.web.server import console_folder

    with opened_memory() as memory:
        folder = console_folder(settings().data_dir)
        service = Service(Console(memory, folder, loop or ()), speaks_for_person=speaks_for_person)
        server = make_server(service, folder, version("loopwright"))
        try:
            if not http:
                serve_stdio(server)
                return
            port = free_port(host, port)
            warn_if_open(host)
            served = HttpServer(server, folder, host=host, port=port, token_hours=token_hours)
            stdout().print(f"MCP server: {plain(served.url)}")
            stdout().print(f"Bearer token, for {token_hours:g} h: {plain(served.token)}")
            served.run()
        finally:
            service.close()
