"""Free words in a session: read back by the kit, confirmed by whoever said them, and nothing moves before."""

import json
from typing import Any

import pytest
from tests.graphs.loop.small import one
from tests.loops.bench import Bench
from tests.loops.cases import Answering, Models

from loopwright.errors import OperatorError
from loopwright.graphs.loop.context import Context
from loopwright.graphs.loop.declare import State
from loopwright.graphs.loop.session import Session
from loopwright.models.scripted import ScriptedChatModel

WORDS = "make it cosy in here, 23 or so"


def wait(state: State, ctx: Context) -> None:
    for heard in ctx.ask_human("What now?"):
        if heard.kind == "set_target":
            ctx.end("succeeded", f"target {heard.words['target_c']}")


def models(*replies: Any) -> Models:
    said = tuple(json.dumps(reply) if isinstance(reply, dict) else reply for reply in replies)
    return {"navigator": Answering(answer=lambda _: ""), "interpreter": ScriptedChatModel(replies=said)}


def said_to(session: Session, *texts: str) -> str:
    for text in texts:
        session.say(text)
        session.run()
    return session.status


def begun(bench: Bench, *replies: Any) -> Session:
    session = bench.start(one(wait), models(*replies))
    session.run()
    return session


TO_23 = {"kind": "set_target", "target_c": 23.0}


def test_what_a_model_made_of_it_holds_after_a_yes(bench: Bench) -> None:
    session = begun(bench, TO_23)
    assert said_to(session, WORDS) == "waiting"
    assert session.questions[-1].text.startswith("I take it: `target 23`?")
    assert said_to(session, "yes") == "succeeded"
    assert session.events[-1].payload["reason"] == "target 23.0"
    bench.whole(session)  # and a replay asks no model


def test_a_no_is_asked_for_other_words(bench: Bench) -> None:
    session = begun(bench, TO_23)
    assert said_to(session, WORDS, "no") == "waiting"
    assert "other words" in session.questions[-1].text
    assert said_to(session, "target 21") == "succeeded"
    assert session.events[-1].payload["reason"] == "target 21.0"
    bench.whole(session)


def test_a_yes_that_was_said_before_confirms_nothing(bench: Bench) -> None:
    session = begun(bench, TO_23)
    session.say(WORDS)
    session.say("yes")
    session.run()
    assert "target 23" not in str(session.events[-1].payload.get("reason")) and session.status == "waiting"


@pytest.mark.parametrize("reply", ["no JSON at all", OperatorError("the server is down"), {"kind": "none"}])
def test_a_model_without_an_answer_leaves_it_to_the_rules(bench: Bench, reply: Any) -> None:
    session = begun(bench, reply)
    assert said_to(session, WORDS) == "waiting"
    assert "I did not understand that" in session.questions[-1].text


def test_rules_come_first_and_stop_is_theirs_alone(bench: Bench) -> None:
    session = begun(bench)  # a model that is asked would have no reply
    assert said_to(session, "target 22") == "succeeded"
    session = begun(bench)
    session.say("please do make it all come to a stop")
    assert session.status == "stopped"
