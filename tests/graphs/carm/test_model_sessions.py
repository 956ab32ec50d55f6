"""Sessions with a model in the C-arm loop: nonsense, kills, STOP, rewinds, forks, and models that are not there."""

import base64
import hashlib
import multiprocessing
import signal
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from tests.graphs.lives import live
from tests.graphs.oracle import Card, Oracle, Replays, prompts, with_model
from tests.models import tiny
from tests.scenario import Begin, Patient, payloads

from loopwright.errors import LoopwrightError, OperatorError, UnknownName
from loopwright.graphs.carm import LOOP
from loopwright.memory import Memory
from loopwright.schema import Event


def asked_of(body: dict[str, Any]) -> tuple[str, str]:
    """What a request to the server shows, by its hash, and the last thing that it asks about it."""
    said = [turn["content"] for turn in body["messages"] if turn["role"] == "user"]
    picture = base64.b64decode(said[0][0]["image_url"]["url"].partition(",")[2])
    return hashlib.sha256(picture).hexdigest(), said[-1] if isinstance(said[-1], str) else said[-1][-1]["text"]


def answered(events: list[Event]) -> set[tuple[str, str]]:
    """The same of what is on record."""
    found = set()
    for prompt in (p["prompt"] for p in payloads(events, "replied")):
        last = prompt[-1]["content"]
        found.add((prompt[1]["content"][0]["file_id"], last if isinstance(last, str) else last[-1]["text"]))
    return found


def test_nonsense_ends_the_session_clearly_and_it_goes_on_where_it_was(
    patient: Patient, begin: Begin, oracle: Oracle, memory: Memory, tmp_path: Path, replays: Replays
) -> None:
    run = with_model(patient, oracle.card(tmp_path), "Carina", "T12", localiser="vlm", navigator="vlm")
    oracle.says = lambda question, answer: "Who knows?" if "Previous: " in question else answer
    session = begin(run)
    with pytest.raises(OperatorError, match=r"None of 3 answers was a `navigation`.*'Who knows\?'"):
        session.run()
    assert session.status == "paused"
    known = memory.events.read(session.id)
    assert (known[-1].kind, known[-1].payload["type"]) == ("error", "OperatorError")
    assert len(answered(known)) == 16 + 15  # a whole step, and all but the navigator's answer of the next
    n_before = len(oracle.server.requests)
    oracle.says = lambda question, answer: answer
    resumed = LOOP.resume(session.id, memory, devices=tmp_path / "devices")
    assert resumed.run() == "succeeded"
    assert answered(known).isdisjoint(map(asked_of, oracle.server.requests[n_before:]))
    replays(resumed)


def test_a_killed_session_asks_nothing_twice_that_was_answered(
    patient: Patient, begin: Begin, oracle: Oracle, memory: Memory, tmp_path: Path, replays: Replays
) -> None:
    killing, go_on = threading.Event(), threading.Event()

    def says(question: str, answer: str) -> str:
        if "Previous: " in question:  # the second step's navigator; what was seen is known by then
            killing.set()
            go_on.wait(60)
        return answer

    oracle.says = says
    run = with_model(patient, oracle.card(tmp_path), "Carina", "T12", localiser="vlm", navigator="vlm")
    session = begin(run)
    processes: Any = multiprocessing.get_context("spawn")
    url, devices = f"sqlite:///{tmp_path / 'memory.sqlite'}", tmp_path / "devices"
    begun = processes.Event()
    child = processes.Process(target=live, args=(url, devices, session.id, begun))
    child.start()
    assert killing.wait(120)
    child.kill()
    child.join()
    assert child.exitcode == -signal.SIGKILL
    known, n_before = memory.events.read(session.id), len(oracle.server.requests)
    assert len(answered(known)) == 16 + 15
    go_on.set()
    resumed = LOOP.resume(session.id, memory, devices=devices)
    assert resumed.run() == "succeeded"
    later = Counter(map(asked_of, oracle.server.requests[n_before:]))
    assert answered(known).isdisjoint(later) and set(later.values()) == {1}
    replays(resumed)


def test_stop_ends_a_question_and_the_session_goes_on_later(
    patient: Patient, begin: Begin, oracle: Oracle, memory: Memory, tmp_path: Path, replays: Replays
) -> None:
    go_on = threading.Event()
    session = begin(with_model(patient, oracle.card(tmp_path), "Carina", "T12", navigator="vlm"))

    def says(question: str, answer: str) -> str:
        session.say("STOP")
        go_on.wait(60)
        return answer

    oracle.says = says
    assert session.run() == "stopped"
    assert payloads(memory.events.read(session.id), "replied") == []
    assert [e.act.tool for e in memory.ledger.of(session.id)] == ["take_exposure"]
    go_on.set()
    oracle.says = lambda question, answer: answer
    resumed = LOOP.resume(session.id, memory, devices=tmp_path / "devices")
    assert resumed.run() == "succeeded"
    replays(resumed)


def test_a_rewind_asks_anew_and_a_fork_remembers_the_step_before(
    patient: Patient, begin: Begin, oracle: Oracle, memory: Memory, tmp_path: Path, replays: Replays
) -> None:
    session = begin(with_model(patient, oracle.card(tmp_path), "Carina", "T12", navigator="vlm"))
    assert session.run() == "succeeded"
    child = LOOP.fork(session, 1)
    assert child.run() == "succeeded"
    assert "Previous: Carina" in prompts(memory.events.read(child.id), "navigator")[0]
    session.rewind(1)
    session.say("note: look closely")
    assert session.run() == "succeeded"
    told = {
        e.branch: e.payload["prompt"][-1]["content"][-1]["text"]
        for e in memory.events.read(session.id)
        if e.kind == "replied" and e.step == 1
    }
    assert told[1] == f'{told[0]} The clinician says: "note: look closely"'
    replays(session)
    replays(child)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"kind": "local", "base": "./nowhere"}, r"`model` 'card' cannot be used, its base .*nowhere"),
        ({"kind": "local", "base": "here", "adapters": {"carm": "./nowhere"}}, r"its adapter carm .*nowhere"),
        ({"kind": "served", "base": "m", "base_url": "http://127.0.0.1:9/v1"}, r"its endpoint .*127\.0\.0\.1:9"),
        ({"kind": "served", "base": "m"}, r"needs `base_url`"),
    ],
)
def test_a_model_that_is_not_there_begins_nothing(
    patient: Patient, begin: Begin, card: Card, memory: Memory, values: dict[str, Any], says: str
) -> None:
    if values["base"] == "here":
        values = values | {"base": str(tiny.folder_of("qwen2.5-vl"))}
    with pytest.raises(LoopwrightError, match=says):
        begin(with_model(patient, card(**values), "Carina", "T12", navigator="vlm"))
    with pytest.raises(UnknownName, match="model card 'smal'"):
        begin(patient.run(localiser="hybrid", model="smal"))
    assert memory.sessions.list() == []
