"""LangChain's `create_agent` in a node: what it says and does is on record, found again, guarded and approved."""

from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.structured_output import ToolStrategy
from langchain_core.messages import AIMessage
from pydantic import BaseModel
from tests.graphs.loop.small import one, room_c
from tests.loops.bench import Bench
from tests.loops.thermostat import read_room, set_heater

from loopwright.graphs.loop.context import Context
from loopwright.graphs.loop.declare import State
from loopwright.models.cards import ModelCard
from loopwright.models.scripted import ScriptedChatModel
from loopwright.models.served.chat import ServedChatModel


class Found(BaseModel):
    """What was found."""

    room_c: float
    why: str


def calling(*calls: tuple[str, dict[str, Any]]) -> AIMessage:
    """The ids are those of a server that gives all calls the same."""
    return AIMessage("", tool_calls=[{"name": name, "args": args, "id": "call_0"} for name, args in calls])


def scripted() -> dict[str, Any]:
    replies = (
        calling(("read_room", {}), ("set_heater", {"on": True})),
        calling(("set_heater", {"on": True})),
        calling(("Found", {"room_c": 18.0, "why": "it is heated"})),
    )
    return {"navigator": ScriptedChatModel(replies=replies)}


def by_agent(state: State, ctx: Context) -> None:
    agent = create_agent(
        ctx.chat_model("navigator"), ctx.chat_tools(read_room, set_heater), response_format=ToolStrategy(Found)
    )
    found = ctx.run_agent(agent, {"messages": [("human", "Heat the room.")]})
    state["found"] = found["structured_response"].model_dump()
    ctx.end("succeeded", state["found"]["why"])


def test_what_an_agent_says_and_does_is_on_record(bench: Bench) -> None:
    session = bench.start(one(by_agent, state={"found": None}), scripted(), approval="guard")
    assert session.run() == "succeeded", session.events[-1]
    acted = [event.payload for event in session.events if event.kind == "acted"]
    done = [(act["tool"], act["status"]) for act in acted]
    assert sorted(done[:2]) == [("read_room", "done"), ("set_heater", "done")], "calls of one reply have no order"
    assert done[2:] == [("set_heater", "done")]
    assert room_c(bench, session) == 18.0, "no call is taken for the one before it"
    assert session.state["found"] == {"room_c": 18.0, "why": "it is heated"}
    replied = [event.payload for event in session.events if event.kind == "replied"]
    assert [len(reply["tool_calls"]) for reply in replied] == [2, 1, 1]
    bench.whole(session)  # a replay asks no model


def test_a_human_is_asked_before_an_agent_acts(bench: Bench) -> None:
    models = scripted()
    session = bench.start(one(by_agent, state={"found": None}), models, approval="human")
    for _ in range(2):
        session.run()
        (question,) = session.questions
        assert question.text == "May I switch the heater on?"
        session.say("yes")
    assert session.run() == "succeeded"
    assert len(models["navigator"].prompts) == 3, "the model is not asked again for what it said"
    assert room_c(bench, session) == 18.0
    bench.whole(session)


def test_what_a_human_refuses_is_told_to_the_agent(bench: Bench) -> None:
    models = scripted()
    session = bench.start(one(by_agent, state={"found": None}), models, approval="human")
    session.run()
    session.say("reject: it is warm enough")
    session.run()
    session.say("yes")
    assert session.run() == "succeeded"
    assert "it is warm enough" in models["navigator"].prompts[1][-1].text
    assert room_c(bench, session) == 16.5


def test_an_agent_that_is_broken_off_goes_on_where_it_was(bench: Bench) -> None:
    replies = scripted()["navigator"].replies
    loop = one(by_agent, state={"found": None})
    first = bench.start(loop, {"navigator": ScriptedChatModel(replies=replies[:1])}, approval="guard")
    with pytest.raises(Exception, match="no reply left"):
        first.run()
    rest = ScriptedChatModel(replies=replies[1:])
    session = bench.resume_loop(loop, first.id, {"navigator": rest})
    assert session.run() == "succeeded"
    assert room_c(bench, session) == 18.0
    bench.whole(session)


def test_agents_of_langchain_work_with_local_and_served_models() -> None:
    """Outside a session; the local model's calls are made by grammar, and so is its answer."""
    from tests.models import capable
    from tests.models.chat_server import MODEL, ChatServer

    from loopwright.models.cards import load_card
    from loopwright.models.local.chat import LocalChatModel

    def look(where: str) -> str:
        """Look at a place."""
        asked.append(where)
        return "It is bone."

    with ChatServer(answer=capable.answer) as server:
        card = ModelCard(name="here", kind="served", base=MODEL, base_url=server.url)
        short: dict[str, Any] = {"max_tokens": 12}
        for model in (ServedChatModel(card=card), LocalChatModel(card=load_card("small"), **short)):
            asked: list[str] = []
            agent: Any = create_agent(model, [look], response_format=Found)
            found = agent.invoke({"messages": [("human", "What is at 'T12'?")]}, {"recursion_limit": 8})
            assert isinstance(found["structured_response"], Found)
            assert len(asked) == 1
