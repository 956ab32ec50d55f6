"""What an event tells a person: the loop's own words, the kit's, and silence."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.loops.thermostat import thermostat

from loopwright.graphs.loop.describe import describe, describe_in, reply_text
from loopwright.graphs.loop.lines import Line
from loopwright.schema import GENESIS, Event


def event(kind: str, **payload: Any) -> Event:
    return Event(
        session_id="s", seq=1, branch=0, step=0, kind=kind, key=None, payload=payload, created_at=datetime.now(UTC),
        prev_hash=GENESIS, hash=GENESIS,
    )  # fmt: skip


def heard(said: str, **words: Any) -> dict[str, Any]:
    at = datetime.now(UTC).isoformat()
    return {"message_id": 1, "author": "nurse", "text": said, "words": words, "question": None, "received_at": at}


CALL = {"tool": "set_heater", "arguments": {"on": True}}
REPLY = {
    "role": "navigator",
    "model": "small",
    "adapter": None,
    "reply": "<thought>Cold.</thought> heat",
    "attempts": 1,
}
ACT = {"tool": "set_heater", "arguments": {"on": True}}

SAID = [
    (event("node", node="heat", messages=[]), []),
    (
        event("node", node="heat", messages=[heard("target 21", kind="set_target", target_c=21.0)]),
        [Line("heard", "nurse: “target 21”", "set target: target_c 21", "human")],
    ),
    (
        event("heard", messages=[heard("?", kind="unclear", text="?", question="What?"), heard("x", kind="note")]),
        [
            Line("heard", "nurse: “?”", "not understood, so it is asked about", "human"),
            Line("heard", "nurse: “x”", "a note, kept on record", "human"),
        ],
    ),
    (
        event("asked", question={"id": "q2", "about": "approval", "text": "May I?", "options": ["approve"]}),
        [Line("asked", "q2: May I?", "for example: approve", "warn")],
    ),
    (
        event("observed", tool="look", arguments={}, output={"c": 1.50, "image": None, "deep": {"a": 1}}),
        [Line("observed", "look: c 1.5")],
    ),
    (
        event("replied", **REPLY, is_exact=True),
        [Line("navigator", "Cold. heat", "small", "model")],
    ),
    (
        event("replied", **{**REPLY, "attempts": 2, "adapter": "heating"}, is_exact=False),
        [
            Line(
                "navigator", "Cold. heat", "small with the adapter heating; repaired, after 2 attempts", "warn"
            )
        ],
    ),
    (event("guarded", **CALL, ok=True, rule="", reason=""), [Line("checked", "allowed", tone="ok")]),
    (event("guarded", **CALL, ok=False, rule="fuse", reason="hot"), []),
    (
        event("acted", **CALL, status="done", output={"room_c": 16.5}),
        [Line("acted", "switch the heater on", "room_c 16.5", "ok")],
    ),
    (
        event("acted", **CALL, status="refused", rule="fuse", reason="too hot"),
        [Line("acted", "switch the heater on: refused by the rule 'fuse': too hot", tone="bad")],
    ),
    (
        event("acted", tool="set_heater", arguments={"off": 1}, status="refused", rule="arguments", reason="no `off`"),
        [Line("acted", "set_heater off 1: refused by the rule 'arguments': no `off`", tone="bad")],
    ),
    (
        event("finished", status="failed", reason="cold", path="plan.0/"),
        [Line("finished", "failed: cold", "in plan.0", "bad")],
    ),
    (
        event("stopped", reason="nurse: stop", acts_sent=1, last_act_sent=ACT),
        [Line("STOPPED", "by nurse: stop; nothing further is sent", "already sent: switch the heater on", "bad")],
    ),
    (event("checked", act=ACT, ok=True), []),
]  # fmt: skip


@pytest.mark.parametrize(("given", "said"), SAID, ids=lambda value: value.kind if isinstance(value, Event) else "")
def test_what_the_kit_says(given: Event, said: list[Line]) -> None:
    assert describe_in(thermostat, given) == said


def test_a_loop_says_more_or_less_of_its_own() -> None:
    def own(given: Event) -> Line | Sequence[Line] | None:
        if given.kind == "decided":
            return Line("decided", "to wait")
        return [] if given.kind == "finished" else None

    finished = event("finished", status="succeeded", reason="", path="")
    assert describe(event("decided", by="me"), own) == [Line("decided", "to wait")]
    assert describe(event("other"), own) == []
    assert describe(finished, own) == []
    assert describe(event("paused", reason="lunch"), own) == [Line("paused", "lunch", tone="quiet")]
    assert describe(event("decided", by="me", sure=True, why=None)) == [
        Line("decided", "by me, sure true", tone="quiet")
    ]


def test_nested_loops_describe_their_own_events() -> None:
    inner = thermostat.varied(name="inner", describe=lambda given: Line("inner", "said") if given.kind == "x" else None)
    outer = thermostat.varied(name="outer", nodes=[*thermostat.nodes, inner])
    assert describe_in(outer, event("x")) == [Line("inner", "said")]


def test_a_long_reply_is_cut() -> None:
    assert len(reply_text("word " * 1000)) <= 400
