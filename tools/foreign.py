"""Tools of other MCP servers, as tools of ours: named in the settings, recorded like any other, and never acting.

    [mcp.servers.weather]
    command = ["python", "weather_server.py"]     # over standard input and output; or: url = "https://..."

A tool joins where its server says that it only reads, or that what it writes destroys nothing. Any other would act on
a world of its own, before which none of our guards stands: it is left out, with the reason. Needs the extra `mcp`.
"""

import json
import os
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import Field, create_model

from loopwright.errors import BadInput, MissingDependency, ToolError, ToolRetry
from loopwright.schema import Frozen
from loopwright.schema.json_text import parse_json
from loopwright.settings import McpServer, settings
from loopwright.tools.contract import Effect, Tool, ToolContext

if TYPE_CHECKING:
    from mcp import Client
    from mcp.types import Tool as Listed

MOST_CHARS, MOST_SCHEMA_CHARS, MOST_TOOLS = 20_000, 3_000, 100
"""Of an answer, of what is told of a tool's arguments, and of one server's tools."""


class Answered(Frozen):
    """What the server answered."""

    text: str = Field(max_length=MOST_CHARS)


class Joined(NamedTuple):
    """Tools that joined, and why others did not."""

    tools: tuple[Tool[Any, Any], ...]
    left_out: tuple[str, ...]


@cache
def foreign_tools() -> Joined:
    """The tools of all servers in the settings; asked once in a process.

    Raises:
        MissingDependency: the extra `mcp` is not installed.
        BadInput: a server cannot be reached; with its name and the repair.
    """
    tools: list[Tool[Any, Any]] = []
    left_out: list[str] = []
    for name, server in settings().mcp.servers.items():
        for listed in _listed(name, server)[:MOST_TOOLS]:
            effect = _effect(listed)
            if effect is None:
                left_out.append(
                    f"`{listed.name}` of `{name}` may act on a world of its own, before which no guard of ours stands"
                )
            else:
                tools.append(_tool(name, server, listed, effect))
    return Joined(tuple(tools), tuple(left_out))


def _effect(listed: "Listed") -> Effect | None:
    hints = listed.annotations
    if hints is not None and hints.read_only_hint:
        return "read"
    return "write" if hints is not None and hints.destructive_hint is False else None


def _tool(name: str, server: McpServer, listed: "Listed", effect: Effect) -> Tool[Any, Any]:
    import jsonschema

    schema = dict(listed.input_schema)
    told = json.dumps(schema, ensure_ascii=False)[:MOST_SCHEMA_CHARS]
    arguments: Any = (str, Field(default="{}", max_length=8000, description=f"a JSON object as {told}"))
    validator = jsonschema.Draft202012Validator(schema)

    def call(args: Any, context: ToolContext) -> Answered:
        try:
            given = parse_json(args.arguments)
        except json.JSONDecodeError as error:
            raise ToolRetry(f"`arguments` is no JSON ({error}); expected an object as {told}.") from None
        if problem := next(iter(validator.iter_errors(given)), None):
            raise ToolRetry(f"`arguments` {args.arguments!r:.200}: {problem.message}; expected {told}.")
        return _called(name, server, listed.name, given)

    return Tool(
        name=re.sub(r"\W+", "_", f"{name}_{listed.name}").lower()[:64],
        effect=effect,
        consent="always",
        words=None,
        timeout_s=server.timeout_s,
        description=" ".join((listed.description or listed.title or listed.name).split())[:1000],
        input_model=create_model("ForeignArguments", __base__=Frozen, arguments=arguments),
        output_model=Answered,
        function=call,
    )


def _listed(name: str, server: McpServer) -> "list[Listed]":
    async def ask(client: "Client") -> "list[Listed]":
        return list((await client.list_tools()).tools)

    try:
        found: list[Listed] = _with_client(server, ask)
    except ToolError as error:
        raise BadInput(
            f"The MCP server {name!r} (`mcp.servers.{name}`) cannot be asked for its tools: {error}. Start it, correct "
            "the setting, or take it out."
        ) from error
    return found


def _called(name: str, server: McpServer, tool: str, arguments: dict[str, Any]) -> Answered:
    async def ask(client: "Client") -> Any:
        return await client.call_tool(tool, arguments)

    try:
        result = _with_client(server, ask)
    except ToolError as error:
        raise ToolError(f"`{tool}` of the MCP server {name!r} failed: {error}") from error
    text = "\n".join(part.text for part in result.content if getattr(part, "type", "") == "text")
    if result.is_error:
        raise ToolError(f"`{tool}` of the MCP server {name!r} answered: {text[:1000]}")
    return Answered(text=text[:MOST_CHARS])


def _with_client(server: McpServer, ask: Any) -> Any:
    """What `ask` makes of a client that is connected for it alone.

    Raises:
        MissingDependency: the extra `mcp` is not installed.
        ToolError: whatever the server or the way to it raised.
    """
    try:
        import anyio
        from mcp import Client, MCPError, StdioServerParameters, stdio_client
    except ModuleNotFoundError as error:
        raise MissingDependency(
            "Tools of MCP servers need the extra `mcp`: `pip install 'loopwright[mcp]'`."
        ) from error

    async def work(log: Any) -> Any:
        where: Any = server.url
        if server.command:
            where = stdio_client(
                StdioServerParameters(command=server.command[0], args=list(server.command[1:])), errlog=log
            )
        with anyio.fail_after(server.timeout_s):
            async with Client(where, read_timeout_seconds=server.timeout_s) as client:
                return await ask(client)

    with Path(os.devnull).open("w", encoding="utf-8") as log:  # what a server prints is not for this terminal
        try:
            return anyio.run(work, log)
        except (MCPError, OSError, RuntimeError, ValueError, ExceptionGroup) as error:
            raise ToolError(next(_causes(error))) from error


def _causes(error: BaseException) -> Iterator[str]:
    """What went wrong, out of the groups that task groups raise."""
    if isinstance(error, BaseExceptionGroup):
        yield from _causes(error.exceptions[0])
    else:
        yield str(error) or type(error).__name__
