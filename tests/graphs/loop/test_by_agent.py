"""The world and tools of a loop in the hands of an agent."""

import json
from typing import Any

import pytest
from tests.loops.bench import Bench
from tests.loops.cases import Models
from tests.loops.thermostat import thermostat

from loopwright.graphs.loop.by_agent import AGENT, by_agent
from loopwright.graphs.registry import get_loop
from loopwright.models.scripted import ScriptedChatModel

by_hand = by_agent(thermostat, "thermostat-agent")


def calls(*each: tuple[str, dict[str, Any]]) -> Models:
    """A model that makes these calls in turn."""
    return {AGENT: ScriptedChatModel(replies=tuple(json.dumps({"name": n, "arguments": a}) for n, a in each))}


HEAT: tuple[str, dict[str, Any]] = ("set_heater", {"on": True})
DONE: tuple[str, dict[str, Any]] = ("finish", {"summary": "it is warm"})


def test_an_agent_looks_acts_and_finishes(bench: Bench) -> None:
    session = bench.start(by_hand, calls(("read_room", {}), HEAT, DONE))
    assert session.run() == "succeeded"
    assert [e.payload["tool"] for e in session.events if e.kind in ("observed", "acted")] == ["read_room", "set_heater"]
    assert [c["status"] for c in session.state["calls"]] == ["done", "done"]
    assert session.state["reason"] == "it is warm"
    assert by_hand.replay(session.id, session.memory).difference is None


def test_a_person_is_asked_before_the_agent_acts(bench: Bench) -> None:
    session = bench.start(by_hand, calls(HEAT, DONE), approval="human")
    assert session.run() == "waiting"
    assert session.questions[0].text.startswith("May I switch the heater on?")
    session.say("reject: it is warm enough")
    assert session.run() == "succeeded"
    assert session.state["calls"][0]["status"] == "refused"
    assert "warm enough" in session.state["calls"][0]["text"]


def test_the_agent_talks_and_hears_any_words(bench: Bench) -> None:
    session = bench.start(by_hand, calls(("tell", {"text": "How warm?"}), HEAT, DONE))
    assert session.run() == "waiting"
    session.say("As warm as yesterday, is it not?")
    assert session.run() == "succeeded"
    assert session.state["calls"][0]["text"] == "As warm as yesterday, is it not?"


@pytest.mark.parametrize("name", ["carm", "recipe", "surgery"])
def test_every_loop_has_one(name: str) -> None:
    found = get_loop(f"{name}-agent")
    assert {t.name for t in get_loop(name).tools} < {t.name for t in found.tools}
