"""`loopwright mcp` as clients start it: over standard input and output, and over HTTP with a token."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

WHERE = ["--loop", "tests.loops.thermostat:thermostat"]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {**os.environ, "LOOPWRIGHT_DATA_DIR": str(tmp_path), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


async def heated(to: Client) -> Any:
    """What a room is like after it was heated once."""
    opened: Any = (await to.call_tool("open_thermostat", {})).structured_content
    done: Any = (await to.call_tool("set_heater", {"session": opened["session"], "on": True})).structured_content
    return done["call"]["output"]["room_c"]


def test_over_standard_input_and_output(environment: dict[str, str]) -> None:
    command = StdioServerParameters(command=sys.executable, args=["-m", "loopwright", "mcp", *WHERE], env=environment)

    async def go() -> None:
        async with Client(stdio_client(command)) as to:
            assert await heated(to) == 16.5

    anyio.run(go)


@pytest.fixture
def served(environment: dict[str, str]) -> Iterator[tuple[str, str]]:
    """Address and token of a server."""
    command = [sys.executable, "-m", "loopwright", "mcp", "--http", "--port", "0", *WHERE]
    server = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    said = [server.stdout.readline(), server.stdout.readline()]
    yield re.split(r"\s", said[0])[2], said[1].split()[-1]
    server.terminate()
    server.wait(10)


def test_over_http_with_a_token(served: tuple[str, str]) -> None:
    url, token = served

    async def go() -> None:
        async with Client(f"{url}?token={token}") as to:
            assert await heated(to) == 16.5

    _until_it_listens(url)
    assert httpx.post(url, json={}).status_code == 401
    anyio.run(go)


def _until_it_listens(url: str) -> None:
    transport = httpx.HTTPTransport(retries=20)
    with httpx.Client(transport=transport) as client:
        client.get(url)
