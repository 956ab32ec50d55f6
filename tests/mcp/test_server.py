"""The MCP server, asked by the protocol's own client: of this revision, of an older one, and one without forms."""

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import mcp_types as types
import pytest
from mcp.client.client import Client
from tests.loops.thermostat import thermostat

from loopwright.mcp.server import make_server
from loopwright.mcp.service import Service
from loopwright.memory import Memory, open_memory
from loopwright.settings import settings
from loopwright.web.console import Console

WHERE = "tests.loops.thermostat:thermostat"
Asked = list[str]


@pytest.fixture
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Memory]:
    monkeypatch.setenv("LOOPWRIGHT_DATA_DIR", str(tmp_path))
    settings.cache_clear()
    with open_memory(settings().memory_url) as opened:
        yield opened
    settings.cache_clear()


@pytest.fixture
def service(memory: Memory, tmp_path: Path) -> Iterator[Service]:
    made = Service(Console(memory, tmp_path / "console", [WHERE]))
    yield made
    made.close()


@asynccontextmanager
async def client(
    service: Service, tmp_path: Path, *answers: types.ElicitResult, mode: str = "auto", asked: Asked | None = None
) -> AsyncIterator[Client]:
    """A client whose person gives these answers in turn; without answers it shows no forms."""
    left = list(answers)

    async def form(context: Any, params: types.ElicitRequestParams) -> types.ElicitResult:
        assert isinstance(params, types.ElicitRequestFormParams)
        if asked is not None:
            asked.append(params.message)
        return left.pop(0)

    server = make_server(service, tmp_path / "console", "1")
    async with Client(server, elicitation_callback=form if answers else None, mode=mode) as made:
        yield made


def decided(decision: str, reason: str = "") -> types.ElicitResult:
    """What a person fills in."""
    return types.ElicitResult(action="accept", content={"decision": decision, "reason": reason})


async def called(to: Client, name: str, /, **arguments: Any) -> tuple[dict[str, Any], bool]:
    """The structured answer, and whether it is an error."""
    result = await to.call_tool(name, arguments)
    assert isinstance(result.content[0], types.TextContent)
    return result.structured_content or {"text": result.content[0].text}, result.is_error


def test_a_client_sees_loops_and_tools(service: Service, tmp_path: Path) -> None:
    async def go() -> None:
        async with client(service, tmp_path) as to:
            tools = {tool.name: tool for tool in (await to.list_tools()).tools}
            assert {"run_carm", "open_thermostat", "set_heater", "move_c_arm", "say", "stop"} <= tools.keys()
            assert tools["set_heater"].input_schema["required"] == ["session", "on"]
            assert tools["run_carm"].input_schema["properties"]["target"]["description"]
            assert tools["read_room"].annotations is not None and tools["read_room"].annotations.read_only_hint

    anyio.run(go)


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_a_client_works_with_the_tools_of_a_loop(service: Service, tmp_path: Path, mode: str) -> None:
    async def go() -> str:
        async with client(service, tmp_path, mode=mode) as to:
            opened, _ = await called(to, "open_thermostat")
            one = opened["session"]
            seen, _ = await called(to, "read_room", session=one)
            assert seen["call"]["output"] == {"room_c": 15.0, "heater_on": False}
            heated, failed = await called(to, "set_heater", session=one, on=True)
            assert heated["call"]["status"] == "done" and not failed
            wrong, failed = await called(to, "set_heater", session=one, on="perhaps")
            assert failed and "perhaps" in wrong["text"]
            ended, _ = await called(to, "close", session=one, summary="it is warm")
            assert ended["status"] == "succeeded"
            again, failed = await called(to, "read_room", session=one)
            assert failed and "succeeded" in again["text"]
            return str(one)

    one = anyio.run(go)
    assert service.memory.verify(one).ok
    (entry,) = service.memory.ledger.of(one)
    assert entry.act.arguments == {"on": True} and entry.outcome is not None and entry.outcome.status == "done"


@pytest.mark.parametrize("mode", ["auto", "legacy"])
@pytest.mark.parametrize(("decision", "status"), [("approve", "done"), ("reject", "refused")])
def test_a_person_is_asked_in_a_form(service: Service, tmp_path: Path, mode: str, decision: str, status: str) -> None:
    asked: Asked = []

    async def go() -> None:
        async with client(service, tmp_path, decided(decision, "too warm"), mode=mode, asked=asked) as to:
            opened, _ = await called(to, "open_thermostat", approval="human")
            done, _ = await called(to, "set_heater", session=opened["session"], on=True)
            assert done["call"]["status"] == status
            if status == "refused":
                assert "too warm" in done["call"]["reason"]

    anyio.run(go)
    assert len(asked) == 1 and "switch the heater on" in asked[0]


def test_a_client_without_forms_cannot_approve_for_a_person(service: Service, tmp_path: Path) -> None:
    async def go() -> None:
        async with client(service, tmp_path) as to:
            opened, _ = await called(to, "open_thermostat", approval="human")
            one = opened["session"]
            asked, _ = await called(to, "set_heater", session=one, on=True, wait_s=1)
            assert asked["questions"][0]["text"].startswith("May I switch the heater on?")
            said, failed = await called(to, "say", session=one, text="approve")
            assert failed and "a person's to do" in said["text"]
            assert service.memory.ledger.of(one) == []
            service.answer(one, "q1", "approve")  # at the console
            now, _ = await called(to, "session_status", session=one, wait_s=5)
            assert not now["questions"]
            (entry,) = service.memory.ledger.of(one)
            assert entry.outcome is not None and entry.outcome.status == "done"

    anyio.run(go)


def test_stop_halts_and_what_was_asked_for_never_comes_back(service: Service, tmp_path: Path) -> None:
    async def go() -> None:
        async with client(service, tmp_path) as to:
            opened, _ = await called(to, "open_thermostat", approval="human")
            one = opened["session"]
            await called(to, "set_heater", session=one, on=True, wait_s=1)
            stopped, _ = await called(to, "stop", session=one)
            assert stopped["status"] == "stopped"
            seen, _ = await called(to, "read_room", session=one)  # goes on, and does not heat
            assert seen["call"]["output"]["heater_on"] is False

    anyio.run(go)


def test_a_whole_session_runs_and_its_record_can_be_read(service: Service, tmp_path: Path) -> None:
    async def go() -> None:
        async with client(service, tmp_path) as to:
            ran, failed = await called(to, "run_recipe", dish="simulated:2000007", wait_s=120)
            assert ran["status"] == "succeeded" and not failed
            listed = (await to.list_resources()).resources
            record = await to.read_resource(next(str(r.uri) for r in listed if ran["session"] in str(r.uri)))
            assert isinstance(record.contents[0], types.TextResourceContents)
            events = [json.loads(line) for line in record.contents[0].text.splitlines()]
            assert events[-1]["kind"] == "finished"
            image = next(e["payload"]["output"]["image"] for e in events if e["kind"] == "observed")
            picture = await to.read_resource(f"loopwright://sessions/{ran['session']}/pictures/{image['sha256']}")
            assert isinstance(picture.contents[0], types.BlobResourceContents)

    anyio.run(go)


@pytest.mark.parametrize(
    ("name", "arguments", "says"),
    [
        ("run_nothing", {}, "run_nothing"),
        ("run_carm", {"volume": "phantom:x", "start": "T1", "target": ["T12"]}, "phantom:x"),
        ("open_thermostat", {"approval": "nobody"}, "approval"),
        ("read_room", {}, "session"),
        ("session_status", {"session": "../../etc"}, "../../etc"),
        ("set_heater", {"session": "no-such", "on": True}, "no-such"),
    ],
)
def test_bad_input_is_told_and_nothing_begins(
    service: Service, tmp_path: Path, name: str, arguments: dict[str, Any], says: str
) -> None:
    async def go() -> None:
        async with client(service, tmp_path) as to:
            answer, failed = await called(to, name, **arguments)
            assert failed and says in answer["text"]

    anyio.run(go)
    assert service.memory.sessions.list() == []


def test_a_session_is_gone_on_with_by_another_server(service: Service, memory: Memory, tmp_path: Path) -> None:
    async def first() -> str:
        async with client(service, tmp_path) as to:
            opened, _ = await called(to, "open_thermostat")
            await called(to, "set_heater", session=opened["session"], on=True)
            return str(opened["session"])

    one = anyio.run(first)
    service.close()
    other = Service(Console(memory, tmp_path / "console", [WHERE]))

    async def second() -> None:
        async with client(other, tmp_path) as to:
            seen, _ = await called(to, "read_room", session=one)
            assert seen["call"]["output"]["room_c"] == 16.5

    anyio.run(second)
    other.close()
    assert thermostat.name == "thermostat"
