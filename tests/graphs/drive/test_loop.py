"""The drive loop through its public door: a step, rejections, what cannot be read or seen, and what passengers say."""

from pathlib import Path
from typing import Any

import pytest
from tests.graphs.drive.conftest import AS_MODEL, Drive
from tests.loops.cases import keep_going
from tests.page import Page
from tests.scenario import payloads

from loopwright.errors import BadInput, ToolError
from loopwright.graphs.drive import LOOP
from loopwright.graphs.drive.reward import drive_reward, verified
from loopwright.graphs.drive.steps import film, read_steps
from loopwright.graphs.loop.session import Session
from loopwright.graphs.sessions import report_session
from loopwright.graphs.step_view import step_view
from loopwright.models.visual_tokens import visual_text
from loopwright.tools.drive.tools import look_at_road


def thoughts(session: Session) -> list[dict[str, Any]]:
    return payloads(session.events, "thought")


def speeds(session: Session) -> list[float]:
    seen = [p["output"]["scene"] for p in payloads(session.events, "observed") if "scene" in p["output"]]
    return [scene["speed_mps"] for scene in seen if scene is not None]


def whole(session: Session) -> None:
    assert session.memory.verify(session.id).ok
    assert LOOP.replay(session.id, session.memory).difference is None


def test_a_step_is_seen_predicted_imagined_thought_verified_and_driven(drive: Drive, tmp_path: Path) -> None:
    session = drive()
    assert session.run() == "succeeded"
    wanted = ("observed", "predicted", "thought", "verified", "acted")
    kinds = [e.kind for e in session.events if e.kind in wanted and e.step == 0]
    assert kinds == ["observed", "predicted", "observed", "thought", "verified", "acted"]
    assert session.state["reason"].startswith("5 steps are driven")
    (imagined, *_) = [p["output"] for p in payloads(session.events, "observed") if p["tool"] == "imagine_road"]
    assert [frame["horizon_s"] for frame in imagined["frames"]] == [0.5, 1.0, 1.5, 2.0, 2.5, 3.0]
    assert [frame["image"] is not None for frame in imagined["frames"]].index(True) == 2
    whole(session)

    came = payloads(session.events, "came")
    assert len(came) == 3, "what was imagined 1.5 s ahead at steps 0, 1 and 2 of 5"
    assert all(-1 <= one["ssim"] <= 1 and 0 <= one["iou"] <= 1 and one["psnr_db"] > 10 for one in came)
    shots = film(read_steps(session.events))
    assert [shot.came is not None for shot in shots] == [True, True, True, False, False, False]

    page = Page(report_session(session.memory, session.id, tmp_path / "report.html", LOOP))
    assert "imagined for +1.5 s" in page.text
    assert "Imagined and came, N = 3" in page.text
    assert {picture.size for picture in page.pictures()} == {(128, 128)}
    view = step_view(LOOP, session.memory.sessions.get(session.id), read_steps(session.events)[3])
    titles = [picture.title for picture in view.pictures]
    assert titles == ["Seen from above", "Imagined for 1.5 s later", "Imagined 1.5 s earlier of this moment"]
    assert "polyline" in view.pictures[0].svg


@pytest.mark.parametrize(
    ("run", "futures"),
    [({"imagine": "none"}, 0), ({"imagine": "oracle"}, 1), ({"candidates": 3}, 3), ({"verifier": "imagined"}, 1)],
    ids=str,
)
def test_who_imagines_is_a_switch(drive: Drive, run: dict[str, Any], futures: int) -> None:
    session = drive(steps=1, **run)
    assert session.run() == "succeeded"
    assert len([p for p in payloads(session.events, "observed") if p["tool"] == "imagine_road"]) == futures
    assert thoughts(session)[0]["by"] == "rule"
    whole(session)


def imagining(prompt: str) -> str:
    """A driver who imagines the same frame everywhere."""
    visual = f"<visual>{visual_text([7] * 64)}</visual>"
    return keep_going(prompt).replace("<think>", f"{visual}<think>") if "<answer>" in prompt else visual


@pytest.mark.parametrize(
    ("run", "by", "frames"),
    [
        ({"imagine": "model"}, "model", 1),
        ({"planner": "rule", "imagine": "model"}, "rule", 1),
        ({"planner": "rule", "imagine": "model", "candidates": 2, "shown": "tokens"}, "rule", 2),
        ({"planner": "model", "shown": "pictures"}, "model", 0),
    ],
    ids=["jointly", "world model", "world model that chooses", "VLA"],
)
def test_one_model_runs_three_ways(drive: Drive, run: dict[str, Any], by: str, frames: int) -> None:
    session = drive(imagining, steps=1, **run)
    assert session.run() == "succeeded"
    assert thoughts(session)[0]["by"] == by
    decoded = [p["output"] for p in payloads(session.events, "observed") if p["tool"] == "decode_frame"]
    assert len(decoded) == frames
    assert all(frame["image"] is not None and frame["horizon_s"] == 1.5 for frame in decoded)
    assert len(payloads(session.events, "encoded")) == (2 if run.get("shown") == "tokens" else 0)
    prompt = payloads(session.events, "replied")[0]["prompt"][-1]["content"]
    pictures = [] if isinstance(prompt, str) else [block for block in prompt if block["type"] != "text"]
    assert len(pictures) == (1 if run.get("shown") == "pictures" else 0)
    whole(session)


class TestVerifier:
    def test_a_rejection_goes_back_with_the_reason(self, drive: Drive) -> None:
        def swerve_once(prompt: str) -> str:
            if "Rejected" in prompt:
                return (
                    "<think>clear</think><action>keep</action><answer>" + keep_going("Speed 25.0").split("<answer>")[1]
                )
            return keep_going(prompt).replace(" 0,", " 80,")

        session = drive(swerve_once, steps=1)
        assert session.run() == "succeeded"
        first, second = payloads(session.events, "verified")
        assert (first["ok"], second["ok"]) == (False, True)
        (_, again) = payloads(session.events, "replied")
        assert f"Rejected: {first['rule']}" in str(again["prompt"][-1])
        assert [p["output"]["progress_m"] > 10 for p in payloads(session.events, "acted")] == [True]
        assert session.state["counts"]["rejected"] == 1
        whole(session)

    def test_who_insists_brakes(self, drive: Drive) -> None:
        session = drive(lambda prompt: keep_going(prompt).replace(" 0,", " 80,"), steps=3, repairs=1)
        assert session.run() == "succeeded"
        assert session.state["counts"] == {"faults": 0, "unread": 0, "rejected": 6, "fallbacks": 3}
        assert [t["by"] for t in thoughts(session)] == ["model", "model", "fallback"] * 3
        assert speeds(session)[-1] < speeds(session)[0] - 5
        whole(session)


class TestBadInput:
    def test_an_answer_that_cannot_be_read_counts_and_brakes(self, drive: Drive, tmp_path: Path) -> None:
        session = drive(lambda _: "I would rather not.", steps=2)
        assert session.run() == "succeeded"
        assert session.state["counts"] == {"faults": 0, "unread": 2, "rejected": 0, "fallbacks": 2}
        assert speeds(session)[-1] < speeds(session)[0] - 4
        page = Page(report_session(session.memory, session.id, tmp_path / "report.html", LOOP))
        assert "Unreadable answers 2" in page.text
        whole(session)

    def test_what_is_missing_or_no_number_is_not_driven_by(self, drive: Drive) -> None:
        session = drive(steps=8, faults=("camera@1", "pose@2", "ego@4", "gap@6"))
        assert session.run() == "succeeded"
        by = {e.step: e.payload["by"] for e in session.events if e.kind == "thought"}
        assert by == {
            0: "rule",
            1: "rule",
            2: "fallback",
            3: "rule",
            4: "fallback",
            5: "rule",
            6: "fallback",
            7: "rule",
        }
        assert session.state["counts"]["faults"] == 4
        told = [fault for p in payloads(session.events, "faulty") for fault in p["faults"]]
        assert [what in fault for what, fault in zip(("picture", "pose", "motion", "1.5 s"), told, strict=True)] == [
            True
        ] * 4
        whole(session)

    def test_a_road_that_cannot_be_looked_at_is_braked_on(self, drive: Drive, monkeypatch: pytest.MonkeyPatch) -> None:
        session, look = drive(steps=3), look_at_road.function

        def fail(args: Any, context: Any) -> Any:
            if context.step == 1:
                raise ToolError("the sensors are silent")
            return look(args, context)

        object.__setattr__(look_at_road, "function", fail)
        try:
            assert session.run() == "succeeded"
        finally:
            object.__setattr__(look_at_road, "function", look)
        assert [t["by"] for t in thoughts(session)][:2] == ["rule", "fallback"]
        assert "the sensors are silent" in payloads(session.events, "faulty")[0]["faults"][0]

    @pytest.mark.parametrize(
        ("run", "message"),
        [
            ({"faults": ("rain@3",)}, "no fault"),
            ({"imagine": "none", "candidates": 3}, "not imagined"),
            ({"planner": "model", "candidates": 3}, "by rules"),
            ({"shown": "none", "told": False}, "nothing to go by"),
        ],
    )
    def test_a_setting_that_will_not_do_is_refused(self, drive: Drive, run: dict[str, Any], message: str) -> None:
        with pytest.raises(BadInput, match=message):
            drive(**run)


class TestPassengers:
    def test_slower_is_slower(self, drive: Drive) -> None:
        usual, slow = (drive(scenario="merge", seed=2_000_001, steps=3) for _ in range(2))
        assert usual.run() == "succeeded"
        slow.say("slower")
        slow.say("a bit slower, please")
        assert slow.run() == "succeeded"
        assert slow.state["wishes"]["pace"] == pytest.approx(0.64)
        assert speeds(slow)[-1] < speeds(usual)[-1] - 1
        whole(slow)

    def test_brake_brings_it_to_a_stand_until_it_is_to_drive_on(self, drive: Drive) -> None:
        session = drive(steps=4)
        session.say("brake!")
        for event in session.stream():
            if event.kind == "acted" and event.step == 1:
                session.say("drive on")
        by = [t["by"] for t in thoughts(session)]
        assert by[:2] == ["fallback"] * 2
        assert by[-1] == "rule"
        assert speeds(session)[2] < speeds(session)[0] - 5

    def test_a_lane_that_is_asked_for_becomes_the_route(self, drive: Drive) -> None:
        session = drive(steps=1)
        session.say("move over to the right lane")
        assert session.run() == "succeeded"
        lanes = session.state["scene"]["lanes"]
        (route,) = [lane["centre"] for lane in lanes if lane["is_route"]]
        assert session.state["scene"]["command"] == "right"
        assert -5.0 < route[0][1] < -3.0
        assert session.state["aim_m"] == pytest.approx(4.0, abs=0.5)

    def test_who_turns_a_trajectory_down_gets_another_one(self, drive: Drive) -> None:
        session = drive(approval="human", steps=1)
        assert session.run() == "waiting"
        session.say("reject: too close")
        assert session.run() == "waiting"
        first, second = thoughts(session)
        assert first["waypoints"] != second["waypoints"]
        session.say("approve")
        assert session.run() == "succeeded"
        whole(session)


def test_it_goes_back_and_on_another_way(drive: Drive, tmp_path: Path) -> None:
    session = drive(steps=3)
    assert session.run() == "succeeded"
    begun = session.state["observation"]["totals"]["progress_m"]
    fork = LOOP.fork(session, 1)
    fork.say("brake")
    assert fork.run() == "succeeded"
    assert fork.state["observation"]["totals"]["progress_m"] < begun
    session.rewind(1)
    assert session.run() == "succeeded"
    assert session.state["observation"]["totals"]["progress_m"] == begun
    whole(session)


class TestEnvironment:
    def test_somebody_else_drives(self) -> None:
        env = LOOP.gymnasium_env("driver", reward=drive_reward, steps=2, **AS_MODEL)
        try:
            asked, _ = env.reset(options={"scenario": "highway", "seed": 5})
            assert "Speed" in asked[-1]["text"]
            asked, reward, ended, _, _ = env.step(keep_going(asked[-1]["text"]))
            assert (reward, ended) == (0.0, False)
            asked, reward, ended, _, info = env.step(keep_going(asked[-1]["text"]))
        finally:
            env.close()
        assert ended
        assert info["status"] == "succeeded"
        assert 0.4 < reward < 0.9

    def test_each_verifier_counts(self, drive: Drive) -> None:
        good, bad = drive(keep_going, steps=2), drive(lambda _: "?", steps=2)
        for session in (good, bad):
            session.run()
        of_good, of_bad = verified(good.events), verified(bad.events)
        assert of_good.format == 1.0
        assert of_bad.format == 0.0
        assert of_good.progress > of_bad.progress
        assert of_good.collision == of_bad.collision == 1.0
        assert of_good.consistency > 0.9
