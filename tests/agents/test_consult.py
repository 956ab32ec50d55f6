"""Consultations are on record before they are used, and are asked for once, whatever happens in between."""

import threading

import pytest
from tests.agents.desk import Answering, Desk

from loopwright.agents.carm.places import NEAREST, PLACE, Place
from loopwright.agents.carm.prompts import nearest_messages, place_messages
from loopwright.agents.journal import RecordEnded
from loopwright.agents.replies import reply_flaws, reply_text
from loopwright.errors import DeveloperError, OperatorError
from loopwright.schema import ImageRef
from loopwright.tools.carm.landmarks import LANDMARKS

IMAGE = ImageRef(sha256="a" * 64, width_px=128, height_px=128)
WHERE = {name: place_messages(IMAGE, name) for name in ("Carina", "T1", "T12")}


def test_an_event_says_who_was_asked_what_and_how_it_went(desk: Desk) -> None:
    consult, _ = desk.scripted("Over there", "```\nUp 40 mm\n```")
    assert consult.reply("localiser", WHERE["T1"], PLACE) == Place(0, -40)
    (event,) = desk.events
    assert (event.kind, event.key) == ("consulted", "0/0/consulted/localiser.0")
    said = dict(event.payload)
    prompt = said.pop("prompt")
    assert said == {
        "role": "localiser", "model": "told", "adapter": "carm", "seed": 7, "reply": "```\nUp 40 mm\n```",
        "is_strict": False, "attempts": 2,
    }  # fmt: skip
    assert [turn["role"] for turn in prompt] == ["system", "human"]
    assert prompt[1]["content"][0]["file_id"] == IMAGE.sha256
    assert (reply_text(event.payload), reply_flaws(event.payload)) == ("Up 40 mm", "repaired, after 2 attempts")


def test_what_is_on_record_is_not_asked_for_again(desk: Desk) -> None:
    first, _ = desk.scripted("up 5 mm")
    assert first.reply("localiser", WHERE["T1"], PLACE, name="T1") == Place(0, -5)
    second, model = desk.scripted("down 5 mm")
    with model:
        places = second.replies("localiser", {name: WHERE[name] for name in ("Carina", "T1")}, PLACE)
    assert places == {"Carina": Place(0, 5), "T1": Place(0, -5)}
    assert model.prompts == [WHERE["Carina"]]


@pytest.mark.parametrize("elsewhere", [{"step": 1}, {"visit": 1}])
def test_another_moment_or_visit_asks_for_itself(desk: Desk, elsewhere: dict[str, int]) -> None:
    desk.scripted("up 5 mm")[0].reply("navigator", WHERE["T1"], PLACE)
    consult, _ = desk.scripted("centred", **elsewhere)
    assert consult.reply("navigator", WHERE["T1"], PLACE) == Place(0, 0)
    assert len(desk.events) == 2


def test_questions_are_asked_together_and_recorded_in_their_order(desk: Desk) -> None:
    others = threading.Semaphore(0)

    def late_for_the_first(question: str) -> str:
        if "carina" not in question:
            others.release()
            return "up 5 mm"
        assert others.acquire(timeout=10) and others.acquire(timeout=10)
        return "left 5 mm"

    consult = desk.asking(Answering(answer=late_for_the_first))
    assert consult.replies("localiser", WHERE, PLACE)["Carina"] == Place(5, 0)
    assert [event.key for event in desk.events] == [f"0/0/consulted/localiser.0/{name}" for name in WHERE]


def test_what_was_answered_before_nonsense_is_kept(desk: Desk) -> None:
    model = Answering(answer=lambda question: "up 5 mm" if "carina" in question else "Hm.")
    with pytest.raises(OperatorError, match=r"None of 3 answers was a `place`.*'Hm\.'"):
        desk.asking(model).replies("localiser", WHERE, PLACE)
    consult, scripted = desk.scripted("centred", "centred")
    assert consult.replies("localiser", WHERE, PLACE)["Carina"] == Place(0, -5)
    assert len(scripted.prompts) == 2


def test_scores_are_recorded_with_what_they_come_to(desk: Desk) -> None:
    consult, _ = desk.scripted("t12")
    found = consult.scores("localiser", nearest_messages(IMAGE), LANDMARKS, NEAREST, name="nearest")
    (event,) = desk.events
    assert event.payload["probabilities"] == found and max(found, key=found.__getitem__) == "T12"
    assert (event.payload["reply"], event.payload["is_strict"]) == ("t12", False)
    again, _ = desk.scripted()
    assert again.scores("localiser", nearest_messages(IMAGE), LANDMARKS, NEAREST, name="nearest") == found


def test_a_replay_asks_nobody_and_ends_with_its_record(desk: Desk) -> None:
    consult, _ = desk.scripted("up 5 mm", "T1")
    place = consult.reply("localiser", WHERE["T1"], PLACE)
    scores = consult.scores("localiser", nearest_messages(IMAGE), LANDMARKS, NEAREST, name="nearest")
    replay = desk.replaying(desk.events)
    assert replay.reply("localiser", WHERE["T1"], PLACE) == place
    assert replay.scores("localiser", nearest_messages(IMAGE), LANDMARKS, NEAREST, name="nearest") == scores
    with pytest.raises(RecordEnded):
        replay.reply("navigator", WHERE["T1"], PLACE)


def test_an_agent_without_a_model_is_a_mistake_in_the_loop(desk: Desk) -> None:
    with pytest.raises(DeveloperError, match="opened without an `advisor`"):
        desk.asking(None).reply("navigator", WHERE["T1"], PLACE)
    assert desk.events == []
