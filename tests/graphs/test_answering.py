"""Questions about a session, answered from its record with the events that the answer rests on."""

import pytest
from tests.graphs.loop.small import always_on
from tests.loops.bench import Bench
from tests.loops.thermostat import thermostat

from loopwright.agents.feedback import is_query, is_stop
from loopwright.errors import UnknownName
from loopwright.graphs.answering import answer
from loopwright.graphs.loop.session import Session
from loopwright.graphs.note import note_of
from loopwright.schema import Query

ASKED = {
    "where are you?": "Observed: read_room: heater_on true, room_c 19.5",
    "Why did you stop?": "Finished: succeeded: it is 19.5 degrees",
    "why?": "switch the heater on",
    "what did I say about the target?": "Clinician said 'target 19'",
    "What is the target?": "it was told 'target 19'",
    "is it done?": "The session is succeeded. Finished: succeeded",
    "how many acts?": "3 acts, up to step 3",
    "why was it refused?": "Nothing was refused",
    "what did I say about bananas?": "Nobody said anything about that",
    "who painted the Mona Lisa?": "The record does not say",
    "help": "`target 21`",
}


@pytest.fixture
def session(bench: Bench) -> Session:
    session = bench.start(thermostat, always_on())
    session.say("target 19")
    session.say("where are you?")
    assert session.run() == "succeeded"
    return session


def test_it_is_answered_from_the_record(session: Session) -> None:
    kept = session.memory.events.read(session.id)
    for question, said in ASKED.items():
        found = answer(session.memory, session.id, question, thermostat)
        assert said in str(found), question
        assert all(1 <= seq <= len(kept) for seq in found.events)
        assert bool(found.events) == ("event" in str(found))
    assert session.memory.events.read(session.id) == kept


def test_a_question_is_kept_and_holds_nothing(session: Session) -> None:
    heard = [each for event in session.memory.events.read(session.id) for each in event.payload.get("messages", ())]
    assert [each["words"]["kind"] for each in heard] == ["set_target", "query"]


def test_a_note_says_what_was_done_and_said_each_with_its_events(session: Session) -> None:
    first, *rest = note_of(session.memory, session.id, thermostat)
    assert first.text.startswith("thermostat on ")
    texts = [one.text for one in rest]
    assert texts[0] == "clinician said: “target 19”." and not any("where are you" in text for text in texts)
    assert any("switch the heater on" in text and text.endswith("(3 times).") for text in texts)
    assert texts[-1] == "Finished: succeeded: it is 19.5 degrees."
    kinds = {event.seq: event.kind for event in session.memory.events.read(session.id)}
    assert {kinds[seq] for one in rest[1:] for seq in one.events} == {"acted", "finished"}


def test_there_is_no_such_session(bench: Bench) -> None:
    with pytest.raises(UnknownName, match="nobody"):
        answer(bench.memory, "nobody", "where are you?", thermostat)


@pytest.mark.parametrize("text", ["where are you", "Why did you stop?", "help", "What is the target?", "is it done?"])
def test_what_asks_is_a_query_and_no_stop(text: str) -> None:
    assert is_query(text)
    assert not is_stop(text)
    assert isinstance(thermostat.language.parse(text), Query)


@pytest.mark.parametrize(
    "text",
    [
        "how about 20?",
        "what if you stop?",
        "when it is warm, target 19",
        "where it is cold, heat",
        "target 21?",
        "approve?",
        "where is it, stop!",
    ],
)
def test_what_proposes_or_stops_is_no_query(text: str) -> None:
    assert not isinstance(thermostat.language.parse(text), Query)
