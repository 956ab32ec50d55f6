"""The recipe loop through its public door: dishes, people who change labels, texts that contradict them."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.graphs.oracle import Replays
from tests.graphs.recipe.conftest import DISH, Cook, models, sees
from tests.loops.cases import told, write_as_told
from tests.page import Page
from tests.scenario import payloads, saying

from loopwright.errors import BadInput
from loopwright.graphs.loop.session import Session
from loopwright.graphs.recipe import LOOP
from loopwright.graphs.sessions import redraw_session, report_session
from loopwright.memory import Memory
from loopwright.tools.recipe.dish import open_dish

SCSR_OFF = {"selection": "all"}


def written(session: Session) -> tuple[list[str], list[str]]:
    """Labels and steps that the kitchen has in the end."""
    entries = [e for e in session.memory.ledger.of(session.id) if e.outcome is not None and e.outcome.status == "done"]
    labels = [e.act.arguments for e in entries if e.act.tool == "record_labels"][-1]
    steps = [e.act.arguments["steps"] for e in entries if e.act.tool == "write_instructions"][-1]
    return [*labels["actions"], *labels["ingredients"]], steps


def prompts(session: Session, role: str = "generator") -> list[str]:
    return [str(p["prompt"]) for p in payloads(session.events, "replied") if p["role"] == role]


def test_a_dish_is_seen_predicted_judged_selected_written_verified_and_seen_again(cook: Cook, replays: Replays) -> None:
    session = cook()
    events = list(session.stream())
    assert session.status == "succeeded"
    wanted = ["observed", "judged", "selected", "verified", "acted"]
    kinds = [e.kind for e in events if e.kind in wanted]
    assert kinds == ["observed", *["judged"] * 2, *["selected"] * 2, "verified", *["acted"] * 2, "observed"]
    assert {p["what"]: p["labels"] for p in payloads(events, "predicted")} == {
        "actions": ["slice", "toss", "drizzle"],
        "ingredients": ["tomato", "basil", "cheddar", "walnut"],
    }
    for what in ("actions", "ingredients"):
        (judged,) = [p for p in payloads(events, "judged") if p["what"] == what]
        (kept,) = [p for p in payloads(events, "selected") if p["what"] == what]
        assert all(0 <= one["confidence"] <= 1 for one in judged["initial"])
        assert set(kept["labels"]) <= {one["label"] for side in ("initial", "rectified") for one in judged[side]}
    labels, steps = written(session)
    assert payloads(events, "observed")[-1]["output"]["steps"] == steps == session.state["draft"]
    assert sorted(labels) == sorted(name for p in payloads(events, "selected") for name in p["labels"])
    replays(session)
    assert redraw_session(session.memory, session.id, LOOP)[2]


def test_without_scsr_all_predicted_labels_are_kept(cook: Cook) -> None:
    session = cook(**SCSR_OFF)
    session.run()
    assert payloads(session.events, "judged") == []
    assert written(session)[0] == ["slice", "toss", "drizzle", "tomato", "basil", "cheddar", "walnut"]


@pytest.mark.parametrize(
    ("words", "labels"),
    [
        ("no nuts", ["slice", "toss", "drizzle", "tomato", "basil", "cheddar"]),
        ("there is no cheese in it", ["slice", "toss", "drizzle", "tomato", "basil", "walnut"]),
        ("add lemon", ["slice", "toss", "drizzle", "tomato", "basil", "cheddar", "walnut", "lemon"]),
        ("don't toss it", ["slice", "drizzle", "tomato", "basil", "cheddar", "walnut"]),
    ],
)
@pytest.mark.parametrize("at", [("selected", 0), ("acted", 0)], ids=["before", "afterwards"])
def test_what_a_person_says_of_labels_is_written(
    cook: Cook, words: str, labels: list[str], at: tuple[str, int]
) -> None:
    session = cook(**SCSR_OFF)
    saying(session, {at: words})
    assert session.status == "succeeded"
    assert written(session)[0] == labels
    assert write_as_told(prompts(session)[-1]).split("\n") == written(session)[1]
    assert len(payloads(session.events, "predicted")) == 2, "nothing is predicted again"


def test_the_rule_writes_without_a_model_and_names_every_label(cook: Cook, replays: Replays) -> None:
    session = cook({"predictor": models()["predictor"]}, writer="rule")
    assert session.run() == "succeeded"
    assert payloads(session.events, "verified")[-1]["repairs"] == 0
    assert [p["from"] for p in payloads(session.events, "drafted")] == ["labels"]
    replays(session)


def test_the_recipes_own_labels_measure_the_writer(cook: Cook) -> None:
    session = cook({}, writer="rule", predictor="recipe")
    assert session.run() == "succeeded"
    assert sorted(written(session)[0]) == sorted(name for names in open_dish(DISH).labels for name in names)


def test_a_text_that_contradicts_its_labels_is_redone_and_told_what_is_wrong(cook: Cook) -> None:
    def sloppy(prompt: str) -> str:
        if "Do mention tomato. Leave out potato" in prompt:
            return write_as_told(prompt)
        return "Slice, toss and drizzle the potatoes with the basil, the cheddar and the walnuts."

    session = cook(models(sloppy), **SCSR_OFF)
    session.run()
    first, second = payloads(session.events, "verified")
    assert (first["missing"]["ingredients"], first["invented"]["ingredients"]) == (["tomato"], ["potato"])
    assert (second["missing"]["ingredients"], second["invented"]["ingredients"], second["repairs"]) == ([], [], 1)
    assert session.status == "succeeded"


class TestStubbornText:
    """A writer who never does what he is told."""

    def stubborn(self, cook: Cook, **run: Any) -> Session:
        return cook(models(lambda _: "Boil the potatoes."), repairs=1, **SCSR_OFF, **run)

    def test_it_is_redone_within_the_budget_and_not_reported_as_success(self, cook: Cook) -> None:
        session = self.stubborn(cook)
        assert session.run() == "failed"
        assert len(payloads(session.events, "verified")) == 2
        assert "nobody confirmed" in session.state["reason"]
        assert "it adds: boil, potato" in session.state["reason"]
        assert written(session)[1] == ["Boil the potatoes."]

    def test_somebody_may_confirm_it(self, cook: Cook) -> None:
        session = self.stubborn(cook, on_uncertain="ask")
        assert session.run() == "waiting"
        assert "do not agree" in payloads(session.events, "asked")[-1]["question"]["text"]
        session.say("approve")
        assert session.run() == "succeeded"

    def test_or_stop_at_it(self, cook: Cook) -> None:
        session = self.stubborn(cook, on_uncertain="stop")
        assert session.run() == "failed"
        assert [p for p in payloads(session.events, "acted") if p["tool"] == "write_instructions"] == []


def test_a_person_who_rejects_the_text_is_asked_what_to_change(cook: Cook) -> None:
    session = cook(approval="human", **SCSR_OFF)
    assert session.run() == "waiting"
    session.say("reject: too short")
    assert session.run() == "waiting"
    assert "What is to be changed?" in payloads(session.events, "asked")[-1]["question"]["text"]
    session.say("without walnuts")
    assert session.run() == "waiting"
    assert "May I write these instructions" in payloads(session.events, "asked")[-1]["question"]["text"]
    session.say("approve")
    assert session.run() == "succeeded"
    assert "walnut" not in written(session)[0]


def test_who_is_not_content_afterwards_is_asked_what_to_change(cook: Cook) -> None:
    session = cook(on_uncertain="ask", **SCSR_OFF)
    saying(session, {("acted", 0): "reject"})
    assert session.status == "waiting"
    assert "What is to be changed?" in payloads(session.events, "asked")[-1]["question"]["text"]
    session.say("no nuts")
    assert session.run() == "succeeded"
    assert "walnut" not in written(session)[0]


def test_who_takes_every_label_away_is_asked_what_is_in_it(cook: Cook) -> None:
    session = cook(
        models(see=lambda prompt: sees(prompt, ingredients="Ingredients: walnut")),
        on_uncertain="ask",
        context="ingredients",
        **SCSR_OFF,
    )
    saying(session, {("predicted", 0): "no nuts, don't slice it, don't toss it, don't drizzle it"})
    assert session.status == "waiting"
    assert "What is in the dish?" in payloads(session.events, "asked")[-1]["question"]["text"]


def test_an_unknown_name_is_asked_about(cook: Cook) -> None:
    session = cook()
    session.say("add saffron")
    assert session.run() == "waiting"
    assert "I know no ingredient or action 'saffron'" in payloads(session.events, "asked")[-1]["question"]["text"]


@pytest.mark.parametrize(("context", "sets"), [("actions", (3, 0)), ("ingredients", (0, 4)), ("none", (0, 0))])
def test_the_writer_is_told_what_the_run_says(cook: Cook, context: str, sets: tuple[int, int]) -> None:
    session = cook(context=context, repairs=0, **SCSR_OFF)
    session.run()
    (prompt,) = prompts(session)
    assert tuple(map(len, told(prompt))) == sets


class TestJudgeModel:
    """A judge that cannot score says how sure it is."""

    def judging(self, cook: Cook, answer: Any) -> Session:
        return cook(models(judge=lambda _: answer if isinstance(answer, str) else json.dumps(answer)), judge="model")

    def test_its_scores_select(self, cook: Cook) -> None:
        def percent(**scores: int) -> list[dict[str, Any]]:
            return [{"label": label, "confidence": score} for label, score in scores.items()]

        answer = {
            "shown": percent(tomato=90, basil=80, cheddar=10, walnut=5, saffron=99),
            "own": percent(tomato=95, basil=90, lemon=20, egg=5),
        }
        session = self.judging(cook, answer)
        session.run()
        (kept,) = [p for p in payloads(session.events, "selected") if p["what"] == "ingredients"]
        assert (kept["before"], kept["after"]) == (["tomato", "basil"], ["tomato", "basil"])
        assert (kept["rule"], kept["labels"]) == ("top-n", ["tomato", "basil", "lemon"])

    def test_one_that_talks_nonsense_leaves_the_labels_as_they_are(self, cook: Cook) -> None:
        session = self.judging(cook, "I would rather not say.")
        assert session.run() == "succeeded"
        assert [p["what"] for p in payloads(session.events, "unjudged")] == ["actions", "ingredients"]
        assert written(session)[0] == ["slice", "toss", "drizzle", "tomato", "basil", "cheddar", "walnut"]


class TestRecorded:
    """A recipe that somebody wrote, with a photo or without one."""

    def recorded(self, folder: Path, image: str | None = None) -> str:
        recipe = {
            "id": "soup",
            "title": "Tomato soup",
            "ingredients": ["2 tomatoes", "1 onion"],
            "instructions": ["Chop the onion.", "Boil the tomatoes."],
        }
        (folder / "recipes.json").write_text(json.dumps([recipe | ({"image": image} if image else {})]))
        return f"{folder / 'recipes.json'}:soup"

    def test_without_a_photo_a_person_says_what_is_in_it(self, cook: Cook, tmp_path: Path) -> None:
        session = cook(dish=self.recorded(tmp_path), on_uncertain="ask")
        assert session.run() == "waiting"
        assert "There is no picture. What is in the dish?" in payloads(session.events, "asked")[-1]["question"]["text"]
        session.say("add tomatoes and onions")
        assert session.run() == "succeeded"
        assert written(session)[0] == ["tomato", "onion"]

    def test_without_a_photo_and_a_person_nothing_is_known(self, cook: Cook, tmp_path: Path) -> None:
        session = cook(dish=self.recorded(tmp_path))
        assert session.run() == "failed"
        assert session.state["reason"] == "There is no picture, and nobody named a label of the dish"

    @pytest.mark.parametrize("content", [b"no picture", b""])
    def test_a_photo_that_is_none_is_refused_before_the_session_begins(
        self, cook: Cook, tmp_path: Path, content: bytes
    ) -> None:
        (tmp_path / "photo.jpg").write_bytes(content)
        with pytest.raises(BadInput, match=r"photo\.jpg"):
            cook(dish=self.recorded(tmp_path, "photo.jpg"))

    def test_one_unlike_the_networks_pictures_is_not_taken_for_known(self, cook: Cook, tmp_path: Path) -> None:
        import numpy as np
        from PIL import Image

        noise = np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / "photo.png")
        writer = {"generator": models()["generator"]}
        session = cook(writer, dish=self.recorded(tmp_path, "photo.png"), predictor="network")
        assert session.run() == "failed"
        assert "unlike all that the predictor learnt from" in session.state["reason"]


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ({"dish": "soup"}, "`soup` is no dish"),
        ({"dish": "simulated:x"}, "has the seed 'x'"),
        ({"judge_model": "small"}, "--judge model"),
        ({"predictor": "network", "predictor_model": "small"}, "--predictor model"),
    ],
)
def test_what_will_not_do_is_refused(cook: Cook, wrong: dict[str, Any], match: str) -> None:
    with pytest.raises(BadInput, match=match):
        cook({"generator": models()["generator"]}, **wrong)


def test_a_predictor_that_names_nothing_is_asked_about(cook: Cook) -> None:
    nobody = models(see=lambda prompt: sees(prompt, "", "I see nothing."))
    session = cook(nobody, on_uncertain="ask", **SCSR_OFF)
    assert session.run() == "waiting"
    question = payloads(session.events, "asked")[-1]["question"]["text"]
    assert question == "Nothing was recognised in the picture. What is in the dish?"
    session.say("add tomatoes")
    assert session.run() == "succeeded"
    assert written(session)[0] == ["tomato"]


@pytest.mark.parametrize("writer", ["model", "rule"])
def test_the_report_marks_words_and_stands_alone(cook: Cook, memory: Memory, tmp_path: Path, writer: str) -> None:
    session = cook(compare=True, writer=writer)
    session.run()
    page = Page(report_session(memory, session.id, tmp_path / "report.html", LOOP))
    page.assert_stands_alone()
    assert len(page.pictures()) >= 1
    for told_ in ("Written with the labels", "Written from the picture alone", "The recipe itself", "Judged"):
        assert told_ in page.text
    reference = page.all("article")[2]
    assert reference is not None
    assert {"ok"} <= {cls for one in page.all("span") for cls in str(one.get("class", "")).split()}
