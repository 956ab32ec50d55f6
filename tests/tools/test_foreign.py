"""Tools of a real MCP server over standard input and output join, as far as they do not act."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.loops.thermostat import thermostat

from loopwright.errors import BadInput, ToolError, ToolRetry
from loopwright.graphs.loop.by_agent import by_agent
from loopwright.settings import settings
from loopwright.tools.contract import ToolContext
from loopwright.tools.foreign import Joined, foreign_tools

SERVER = """
from mcp.server import MCPServer
from mcp.types import ToolAnnotations

server = MCPServer("weather")

@server.tool(annotations=ToolAnnotations(read_only_hint=True))
def forecast(city: str, days: int) -> str:
    '''The weather of a city.'''
    if days > 9:
        raise ValueError("too far ahead")
    return f"sun over {city} for {days} days"

@server.tool(annotations=ToolAnnotations(read_only_hint=False, destructive_hint=True))
def make_rain(city: str) -> str:
    '''Make it rain.'''
    return "done"

@server.tool()
def unsaid() -> str:
    '''Says nothing of what it does.'''
    return "?"

server.run("stdio")
"""


@pytest.fixture
def joined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Joined]:
    (tmp_path / "server.py").write_text(SERVER)
    command = json.dumps({"weather": {"command": [sys.executable, str(tmp_path / "server.py")], "timeout_s": 20}})
    monkeypatch.setenv("LOOPWRIGHT_MCP__SERVERS", command)
    settings.cache_clear()
    foreign_tools.cache_clear()
    yield foreign_tools()
    settings.cache_clear()
    foreign_tools.cache_clear()


def test_what_reads_joins_and_what_may_act_does_not(joined: Joined) -> None:
    (forecast,) = joined.tools
    assert (forecast.name, forecast.effect) == ("weather_forecast", "read")
    assert forecast.openai_schema()["function"]["strict"]
    assert len(joined.left_out) == 2 and "make_rain" in joined.left_out[0]
    context = ToolContext(session_id="s", step=0, world=None)
    assert forecast.run({"arguments": '{"city": "Ulm", "days": 3}'}, context).text == "sun over Ulm for 3 days"
    with pytest.raises(ToolRetry, match="'days' is a required property"):
        forecast.run({"arguments": '{"city": "Ulm"}'}, context)
    with pytest.raises(ToolRetry, match="no JSON"):
        forecast.run({"arguments": "sunny"}, context)
    with pytest.raises(ToolError, match="answered: Error executing tool forecast"):
        forecast.run({"arguments": '{"city": "Ulm", "days": 10}'}, context)
    assert "weather_forecast" in [tool.name for tool in by_agent(thermostat, "thermostat-agent").tools]


@pytest.mark.parametrize(
    ("server", "wrong"), [({"command": ["/nowhere"]}, "cannot be asked"), ({}, "either `command`")]
)
def test_a_server_that_is_wrong_is_named(
    server: dict[str, object], wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOOPWRIGHT_MCP__SERVERS", json.dumps({"weather": server}))
    settings.cache_clear()
    foreign_tools.cache_clear()
    with pytest.raises(BadInput, match="weather") as error:
        foreign_tools()
    assert wrong in str(error.value)
    settings.cache_clear()
    foreign_tools.cache_clear()
