"""The shape in which LangChain's agents ask a person, and what its answers say to a session."""

from typing import Any

import pytest
from langchain.agents.middleware.human_in_the_loop import HITLRequest
from pydantic import TypeAdapter
from tests.graphs.loop.small import always_on
from tests.loops.bench import Bench
from tests.loops.thermostat import thermostat

from loopwright.agents.sessions.gate import Question
from loopwright.errors import BadInput
from loopwright.graphs.loop.human import interrupt_of, message_of, question_of
from loopwright.schema import Act

ASKED = Question(id="q1", about="approval", text="May I switch the heater on?", options=("approve", "reject"))
ACT = Act(tool="set_heater", arguments={"on": True})


@pytest.mark.parametrize("act", [ACT, None])
def test_it_is_langchains_and_ours(act: Act | None) -> None:
    shown = interrupt_of(ASKED, act)
    TypeAdapter(HITLRequest).validate_python({key: shown[key] for key in ("action_requests", "review_configs")})
    assert question_of(shown) == ASKED


@pytest.mark.parametrize(
    ("decision", "said"),
    [
        ({"type": "approve"}, "approve"),
        ({"type": "reject"}, "reject"),
        ({"type": "reject", "message": "too warm"}, "reject: too warm"),
        ({"type": "respond", "message": "target 19"}, "target 19"),
        ({"type": "edit", "edited_action": {"name": "set_heater", "args": {"on": False}}}, 'instead: {"on":false}'),
        ({"type": "edit", "edited_action": {"name": "answer", "args": {"text": "target 19"}}}, "target 19"),
    ],
)
def test_a_decision_is_said_in_words(decision: dict[str, Any], said: str) -> None:
    assert message_of({"decisions": [decision]}) == said


@pytest.mark.parametrize("decided", [{"decisions": []}, {"decisions": [{"type": "shrug"}]}, {"decisions": "yes"}])
def test_anything_else_is_refused(decided: dict[str, Any]) -> None:
    with pytest.raises(BadInput, match="expected `decisions`"):
        message_of(decided)


def test_a_session_tells_its_question_without_the_shape_around_it(bench: Bench) -> None:
    session = bench.start(thermostat, always_on(), approval="human")
    session.run()
    assert session.questions[0].text == "May I switch the heater on?"
