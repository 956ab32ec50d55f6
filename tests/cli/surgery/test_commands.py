"""The surgery loop from the command line, as a user types it."""

from collections.abc import Callable
from pathlib import Path

from tests.cli.conftest import Said

Run = Callable[..., Said]
SIMULATED = ("run", "surgery", "--video", "simulated:2000038")


def test_run_tells_each_clip_its_plan_and_what_came(loopwright: Run) -> None:
    said = loopwright(*SIMULATED, "--clips", "4", "--planner", "bayes")
    assert said.code == 0
    for word in (
        "clip      0: Tissue Retraction",
        "saw",
        "progress",
        "safety",
        "planned",
        "exact odds",
        "came",
        "succeeded",
    ):
        assert word in said.out


def test_a_surgery_session_through_all_its_commands(loopwright: Run, tmp_path: Path) -> None:
    *events, last = loopwright(*SIMULATED, "--clips", "4", "--approval", "human", "--json").json
    assert last["status"] == "waiting"
    session = last["session"]
    assert [e["seq"] for e in events] == list(range(1, len(events) + 1))
    said = loopwright("feedback", session, "No, it is bleeding, coagulate first!")
    assert "Understood: prefer: action Coagulation" in said.out
    resumed = loopwright("sessions", "resume", session)
    assert resumed.code == 6  # the next clip's plan waits for its own approval
    assert "learned   Coagulation" in resumed.out
    assert loopwright("feedback", session, "what now").code == 2
    assert loopwright("sessions", "replay", session, "--rerender").code == 0
    assert loopwright("sessions", "verify", session).code == 0
    assert loopwright("sessions", "rewind", session, "0").code == 0
    forked = loopwright("sessions", "fork", session, "1").out.split("Forked into session ")[1].split(".")[0]
    assert loopwright("sessions", "export", forked, "--out", str(tmp_path / "export")).code == 0
    assert any((tmp_path / "export").rglob("*.png"))
    assert loopwright("sessions", "report", session, "--out", str(tmp_path / "r.html")).code == 0
    assert "it is bleeding" in (tmp_path / "r.html").read_text(encoding="utf-8")


def test_the_demo_is_corrected_once_and_writes_its_report(loopwright: Run, tmp_path: Path) -> None:
    said = loopwright("demo", "surgery", "--out", str(tmp_path / "demo.html"))
    assert said.code == 0
    assert said.out.count("learned") == 1
    assert "reached   the vessels are clipped" in said.out
    assert "kept as a labelled example" in (tmp_path / "demo.html").read_text(encoding="utf-8")
