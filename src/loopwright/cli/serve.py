"""`loopwright serve`: the web console."""

import ipaddress
import socket
import webbrowser
from importlib.util import find_spec
from typing import Annotated

import typer
from rich.markup import escape

from loopwright.cli.output import json_line, stderr, stdout
from loopwright.cli.run_session import Json, opened_memory
from loopwright.errors import BadInput, MissingDependency
from loopwright.settings import settings

PORT = 8420


def serve(
    open_: Annotated[bool, typer.Option("--open", help="Open the console in the browser.")] = False,
    host: Annotated[
        str,
        typer.Option(help="The address to listen at. Any other than a loopback one opens the console to the network."),
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port; 0: any that is free.")] = PORT,
    token_hours: Annotated[
        float, typer.Option(min=0.001, help="How long the address that is printed lets people in.")
    ] = 12.0,
    loop: Annotated[
        list[str] | None,
        typer.Option(
            "--loop",
            metavar="WHERE",
            help="`module:attribute` or YAML file of a loop that is not installed. May be given several times.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Serve the console: see, approve, correct and stop sessions in a browser. Ends with Ctrl-C; sessions go on."""
    if find_spec("nicegui") is None:
        raise MissingDependency("The console needs `nicegui`. Install it: pip install 'loopwright[web]'")
    from loopwright.web.console import Console
    from loopwright.web.server import Served, console_folder

    port = free_port(host, port)
    with opened_memory() as memory:
        console = Console(memory, console_folder(settings().data_dir), loop or ())
        served = Served(console, host=host, port=port, token_hours=token_hours)
        if as_json:
            json_line({"url": served.url})
        else:
            stdout().print(f"Console: {escape(served.url)}")
            stdout().print(f"Whoever has this address may use it, for {token_hours:g} h. End the server with Ctrl-C.")
        warn_if_open(host)
        if open_:
            webbrowser.open(served.url)
        served.run()


def warn_if_open(host: str) -> None:
    """Say what it means where an address is not this machine's alone."""
    if not _is_loopback(host):
        stderr().print(
            f"[yellow]`--host` {escape(host)} opens the server to every machine that can reach this one, "
            "unencrypted.[/yellow] Who has the token can run loops and approve acts as you can. Put a proxy with "
            "TLS in front, or use an SSH tunnel."
        )


def free_port(host: str, port: int) -> int:
    """The port, or a free one for 0.

    Raises:
        BadInput: somebody listens there, or the address is not this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise BadInput(
                f"`--host` {host!r} `--port` {port}: {error.strerror or error}. Name another port, or 0 for any."
            ) from error
        return int(probe.getsockname()[1])


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
