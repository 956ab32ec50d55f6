"""The C-arm loop with a model in it: who sees, who steers, and who is corrected."""

import json
from pathlib import Path

import pytest
from tests.graphs.oracle import Card, Oracle, Replays, end_distance_mm, prompts, with_model
from tests.models import tiny
from tests.scenario import Begin, Patient, Use, exposures, payloads, saying

from loopwright.agents.carm.formats import NAVIGATION, Ladder, Navigation
from loopwright.agents.carm.prompts import Previous, previous_report
from loopwright.finetune.data.rollouts import rollouts
from loopwright.graphs.carm import LOOP
from loopwright.graphs.carm.run import LocaliserName, NavigatorName
from loopwright.graphs.sessions import report_session
from loopwright.memory import Memory
from loopwright.settings import settings
from loopwright.tools.carm.geometry import Pose


@pytest.mark.parametrize(
    ("localiser", "navigator", "roles"),
    [
        ("vlm", "atlas", {"localiser": 15}),
        ("hybrid", "vlm", {"localiser": 1, "navigator": 1}),
        ("network", "vlm-unaided", {"navigator": 1}),
    ],
)
def test_random_weights_run_the_whole_loop_in_strict_format(
    patient: Patient,
    begin: Begin,
    card: Card,
    memory: Memory,
    replays: Replays,
    monkeypatch: pytest.MonkeyPatch,
    localiser: LocaliserName,
    navigator: NavigatorName,
    roles: dict[str, int],
) -> None:
    monkeypatch.setenv("LOOPWRIGHT_CARM__MAX_EXPOSURES", "2")
    settings.cache_clear()
    path = card(kind="local", base=str(tiny.folder_of("qwen2.5-vl")))
    session = begin(with_model(patient, path, "Carina", "T12", localiser=localiser, navigator=navigator))
    events = list(session.stream())
    assert session.status in ("succeeded", "failed", "not_found")
    consulted = payloads(events, "replied")
    assert all(p["is_exact"] and p["attempts"] == 1 and p["model"] == "card" for p in consulted)
    of_first = [e.payload["role"] for e in events if e.kind == "replied" and e.step == 0]
    assert {role: of_first.count(role) for role in of_first} == roles
    for event in events:
        assert len(json.dumps(event.payload)) < 20_000  # references, never pixels
    blocks = [p["prompt"][1]["content"][0] for p in consulted]
    pictures = {p["image"]["sha256"] for p in exposures(events)}
    assert {block["file_id"] for block in blocks} <= pictures and {block["type"] for block in blocks} == {"image"}
    replays(session)


def test_the_card_says_how_much_the_model_counts_beside_the_network(
    patient: Patient, begin: Begin, card: Card, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOOPWRIGHT_CARM__MAX_EXPOSURES", "2")
    settings.cache_clear()
    silenced = card(kind="local", base=str(tiny.folder_of("qwen2.5-vl")), pool_weight={"": 0.0})
    events = list(begin(with_model(patient, silenced, "Carina", "T12", localiser="hybrid")).stream())
    network, pooled = payloads(events, "measured")[0], payloads(events, "localised")[0]
    assert pooled["nearest"] == pytest.approx(network["nearest"], abs=1e-6)


def steps_to(patient: Patient, start: str, target: str, ladder: Ladder) -> list[str]:
    """What a navigator says that follows the best command from the truth to the end."""
    pose, said = patient.over(start), list[str]()
    while True:
        command = ladder.command(*patient.truth(pose).offsets_mm[target])
        why = {"reason_x": f"{target} lies there.", "reason_y": "So I think."}
        said.append(NAVIGATION.render(Navigation(context=start, **why, **command.model_dump())))
        if command.stays:
            return said
        pose = ladder.motion(command).applied_to(pose)


@pytest.mark.parametrize("ladder", [(15.0, 50.0, 150.0), (10.0, 40.0, 120.0)])
def test_a_scripted_navigator_steers_to_the_target(
    patient: Patient,
    begin: Begin,
    card: Card,
    memory: Memory,
    replays: Replays,
    tmp_path: Path,
    ladder: tuple[float, float, float],
) -> None:
    script = steps_to(patient, "Right humeral head", "T12", Ladder.of(ladder))
    path = card(kind="scripted", replies=script)
    reach_mm = ladder[0] / 2 * 2**0.5  # as near as the ladder comes; from there to the default code goes
    options = {"navigator": "vlm", "ladder": ladder, "arrival_radius_mm": reach_mm}
    session = begin(with_model(patient, path, "Right humeral head", "T12", **options))
    events = list(session.stream())
    assert session.status == "succeeded"
    assert end_distance_mm(patient, session, "T12") < 15
    assert [p["reply"] for p in payloads(events, "replied")] == script
    decided = payloads(events, "decided")
    assert {p["source"] for p in decided} == {"model"} and len(decided) == len(script) > 3
    asked = prompts(events, "navigator")
    assert "Previous" not in asked[0] and all(f"{mm:g}" in asked[0] for mm in ladder)
    for question, before in zip(asked[1:], decided, strict=False):
        told = previous_report(Previous.model_validate(before["said"]))
        assert told.startswith("Previous: Right humeral head, moved ")
        assert told in question and "Estimate: " in question
    replays(session)
    rolled = list(rollouts(memory.events.read(session.id), "navigator"))
    assert [one.completion for one in rolled] == script and all(one.is_exact for one in rolled)
    assert [one.prompt[-1]["content"][-1]["text"] for one in rolled] == asked
    assert all("acted" in [e.kind for e in one.followed] for one in rolled[:-1])
    assert {one.ending.payload["status"] for one in rolled if one.ending} == {"succeeded"}
    assert list(rollouts(memory.events.read(session.id), "localiser")) == []
    page = report_session(memory, session.id, tmp_path / "report.html", LOOP).read_text(encoding="utf-8")
    assert "<dt>Navigator</dt><dd>Right humeral head" in page and "T12 lies there." in page


@pytest.mark.parametrize(("localiser", "navigator"), [("vlm", "vlm"), ("vlm", "vlm-unaided"), ("hybrid", "atlas")])
def test_a_served_model_sees_and_steers(
    patient: Patient,
    begin: Begin,
    oracle: Oracle,
    tmp_path: Path,
    replays: Replays,
    localiser: LocaliserName,
    navigator: NavigatorName,
) -> None:
    run = with_model(patient, oracle.card(tmp_path), "Carina", "T12", localiser=localiser, navigator=navigator)
    session = begin(run)
    events = list(session.stream())
    assert session.status == "succeeded"
    assert end_distance_mm(patient, session, "T12") < 20
    asked = prompts(events, "navigator")
    assert all(("Estimate: " in question) == (navigator == "vlm") for question in asked)
    assert bool(asked) == (navigator != "atlas")
    seen = payloads(events, "localised")
    assert [max(p["nearest"], key=p["nearest"].__getitem__) for p in seen][:: len(seen) - 1] == ["Carina", "T12"]
    assert all(sum(p["nearest"].values()) == pytest.approx(1) for p in seen)
    replays(session)


def test_the_network_alone_asks_no_model_and_needs_no_card(patient: Patient, begin: Begin) -> None:
    session = begin(patient.run(model="no-such-card"))
    events = list(session.stream())
    assert session.status == "succeeded" and payloads(events, "replied") == []
    assert all(p["said"] is None for p in payloads(events, "decided"))


def test_the_hybrid_keeps_the_networks_offsets_and_set(
    patient: Patient, begin: Begin, oracle: Oracle, tmp_path: Path
) -> None:
    oracle.says = lambda question, answer: "T1"
    run = with_model(patient, oracle.card(tmp_path), "Carina", "T12", localiser="hybrid")
    events = list(begin(run).stream())
    (network, *_), (pooled, *_) = payloads(events, "measured"), payloads(events, "localised")
    assert {**pooled, "nearest": {}} == {**network, "nearest": {}}
    assert pooled["nearest"]["T1"] > network["nearest"]["T1"]
    assert pooled["nearest"]["Carina"] < network["nearest"]["Carina"]


@pytest.mark.parametrize("localiser", ["vlm", "hybrid"])
def test_one_message_corrects_what_the_model_sees(
    patient: Patient,
    begin: Begin,
    oracle: Oracle,
    truth: Use,
    tmp_path: Path,
    replays: Replays,
    localiser: LocaliserName,
) -> None:
    """Over T1 the model and the network take themselves to be over T12, the target; and the counterfactual run."""

    def believed(pose: Pose) -> Pose:
        return patient.over("T12") if patient.distance_mm("T1", pose) < 20 else pose

    oracle.believes = believed
    truth(lambda pose: patient.truth(believed(pose)))
    run = with_model(patient, oracle.card(tmp_path), "T1", "T12", localiser=localiser, navigator="vlm")
    left_alone = begin(run)
    assert left_alone.run() == "succeeded"
    assert end_distance_mm(patient, left_alone, "T12") > 100
    corrected = begin(run)
    events = saying(corrected, {("localised", 0): "that is the T1"})
    (before, *_), (after,) = payloads(events, "localised"), payloads(events, "relocalised")
    seen = [max(p["nearest"], key=p["nearest"].__getitem__) for p in (before, after)]
    assert seen == ["T12", "T1"]
    assert corrected.status == "succeeded"
    assert end_distance_mm(patient, corrected, "T12") < 15
    assert 'The clinician says: "that is the T1"' in prompts(events, "navigator")[0]
    replays(corrected)


def test_incorrect_asks_the_corrector_who_never_says_it_again(
    patient: Patient, begin: Begin, oracle: Oracle, tmp_path: Path, replays: Replays
) -> None:
    run = with_model(patient, oracle.card(tmp_path), "Carina", "T12", localiser="vlm")
    oracle.believes = lambda pose: patient.over("T1") if patient.distance_mm("Carina", pose) < 20 else pose
    session = begin(run)
    events = saying(session, {("localised", 0): "wrong: the trachea divides here"})
    (asked,) = prompts(events, "corrector")
    assert asked.startswith('The clinician says: "the trachea divides here" That is incorrect.')
    (before, *_), (after,) = payloads(events, "localised"), payloads(events, "relocalised")
    assert (max(before["nearest"], key=before["nearest"].__getitem__), after["nearest"]["T1"]) == ("T1", 0.0)
    assert max(after["nearest"], key=after["nearest"].__getitem__) == "Carina"
    assert sum(after["nearest"].values()) == pytest.approx(1)
    assert after["nearest_set"] is None
    replays(session)


def test_what_the_guard_refuses_a_model_is_answered_by_a_smaller_step(
    patient: Patient, begin: Begin, card: Card, memory: Memory, replays: Replays
) -> None:
    far = Ladder().command(0, -150)
    said = Navigation(context="Skull", reason_x="In line.", reason_y="Up and away.", **far.model_dump())
    path = card(kind="scripted", replies=[NAVIGATION.render(said)] * 40)
    session = begin(with_model(patient, path, "Skull", "T12", navigator="vlm"))
    events = list(session.stream())
    judged = [p for p in payloads(events, "guarded") if p["tool"] == "move_c_arm"]
    refused = [p for p in judged if not p["ok"]]
    assert refused and refused[0]["rule"] == "envelope"
    decided = payloads(events, "decided")
    at = next(i for i, p in enumerate(judged) if not p["ok"])
    assert decided[at]["source"] == "model" != decided[at + 1]["source"]
    replays(session)


def test_a_fenced_answer_is_repaired_and_counted(
    patient: Patient, begin: Begin, oracle: Oracle, tmp_path: Path, memory: Memory
) -> None:
    oracle.says = lambda question, answer: f"```xml\n{answer}\n```"
    session = begin(with_model(patient, oracle.card(tmp_path), "Carina", "T12", navigator="vlm"))
    events = list(session.stream())
    assert session.status == "succeeded"
    assert {(p["is_exact"], p["attempts"]) for p in payloads(events, "replied")} == {(False, 1)}
    page = report_session(memory, session.id, tmp_path / "report.html", LOOP).read_text(encoding="utf-8")
    assert "repaired" in page
