"""A session as AG-UI events: each is of the protocol's own types, and what a client answers is heard."""

import json
from typing import Any

from ag_ui.core import Event
from pydantic import TypeAdapter
from tests.web.serving import Api

EVENTS: TypeAdapter[Any] = TypeAdapter(Event)


def run(api: Api, **body: Any) -> list[Any]:
    """The events of one run."""
    asked = {"threadId": "t1", "runId": "r1", "messages": [], **body}
    answer = api.http.post("/agui/gauge", json=asked, timeout=60)
    assert answer.status_code == 200, answer.text
    return [EVENTS.validate_json(frame.removeprefix("data: ")) for frame in answer.text.split("\n\n") if frame]


def test_a_run_ends_with_an_interrupt_and_the_next_answers_it(api: Api) -> None:
    config = {"config": {"approval": "human"}, "models": {"navigator": str(api.server.card)}}
    first = run(api, forwardedProps=config)
    assert (first[0].type.value, first[-1].type.value) == ("RUN_STARTED", "RUN_FINISHED")
    (asked,) = first[-1].outcome.interrupts
    assert asked.message == "May I switch the heater on?"
    state = first[-2].snapshot
    calls = [event.tool_call_name for event in first if event.type.value == "TOOL_CALL_START"]
    assert calls == ["read_gauge"]
    yes = [{"interruptId": asked.id, "status": "resolved", "payload": {"decisions": [{"type": "approve"}]}}]
    second = run(api, runId="r2", state=state, resume=yes)
    acted = [event.tool_call_name for event in second if event.type.value == "TOOL_CALL_START"]
    assert "set_heater" in acted
    stop = [{"id": "m1", "role": "user", "content": "stop"}]
    third = run(api, runId="r3", state=second[-2].snapshot, messages=stop)
    assert third[-1].result == {"status": "stopped"}
    told = [json.dumps(event.model_dump(mode="json")) for event in third]
    assert not any("set_heater" in line and "RESULT" in line for line in told)


def test_what_is_no_request_is_said(api: Api) -> None:
    assert api.http.post("/agui/gauge", json={"threadId": "t"}).status_code == 422
    unknown = api.http.post("/agui/nothing", json={"threadId": "t", "runId": "r", "messages": []})
    assert unknown.status_code == 404 and "nothing" in unknown.json()["error"]
