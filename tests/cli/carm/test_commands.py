"""Running, speaking to and looking after sessions from the command line, as a user types it."""

import json
import os
import signal
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import yaml
from tests.cli.conftest import Said
from tests.scenario import Patient, network_that

from loopwright.agents.carm.formats import NAVIGATION, Ladder, Navigation
from loopwright.graphs.carm import roles
from loopwright.models.networks.localisation import Localisation
from loopwright.settings import settings
from loopwright.tools.carm.geometry import Pose

Run = Callable[..., Said]


@pytest.fixture(scope="module")
def patient(tmp_path_factory: pytest.TempPathFactory) -> Patient:
    """One phantom on disk."""
    return Patient(tmp_path_factory.mktemp("patient"))


@pytest.fixture
def run_carm(loopwright: Run, patient: Patient, monkeypatch: pytest.MonkeyPatch) -> Run:
    """`run_carm("--target", "T12")` over the phantom, with a localiser that knows the truth."""

    monkeypatch.setattr(roles, "network_sees", network_that(patient.truth))
    monkeypatch.setenv("LOOPWRIGHT_CARM__IMAGE_SIZE_PX", "64")
    volume = ("--volume", str(patient.volume), "--landmarks", str(patient.landmarks_file))
    return lambda *options: loopwright("run", "carm", *volume, *options)


def test_run_tells_each_step_and_ends_well(run_carm: Run) -> None:
    said = run_carm("--start", "right scapula", "--target", "carina", "--target", "T12")
    assert said.code == 0
    for word in ("exposure 1", "saw", "decided", "checked", "moved", "reached   Carina", "succeeded: T12 is centred"):
        assert word in said.out


def test_json_is_one_event_a_line_and_then_the_status(run_carm: Run, loopwright: Run) -> None:
    *events, last = run_carm("--start", "Carina", "--target", "T12", "--json").json
    assert last["status"] == "succeeded"
    assert [e["seq"] for e in events] == list(range(1, len(events) + 1))
    assert loopwright("sessions", "show", last["session"], "--json").json == events


def test_a_model_steers_and_its_thoughts_are_told(run_carm: Run, tmp_path: Path) -> None:
    command = Ladder().command(0, 0)
    why = {"reason_x": "T12 is in line.", "reason_y": "The last rib ends here."}
    said = NAVIGATION.render(Navigation(context="T12", **why, **command.model_dump()))
    (tmp_path / "told.yaml").write_text(yaml.safe_dump({"kind": "scripted", "replies": [f"```xml\n{said}\n```"]}))
    model = ("--navigator", "vlm", "--model", str(tmp_path / "told.yaml"))
    told = run_carm("--start", "T12", "--target", "T12", *model)
    assert told.code == 0
    words = " ".join(told.out.split())
    assert "navigator T12 CENTER NONE T12 is in line. CENTER NONE The last rib ends here. (told; repaired)" in words
    assert "succeeded: T12 is centred" in words


def test_a_session_through_all_its_commands(run_carm: Run, loopwright: Run, tmp_path: Path) -> None:
    session = run_carm("--start", "Carina", "--target", "Skull", "--json").json[-1]["session"]
    assert session in loopwright("sessions", "list").out
    assert loopwright("sessions", "verify", session).code == 0
    replayed = loopwright("sessions", "replay", session, "--rerender", "--json")
    assert (replayed.code, replayed.json[0]["same"]) == (0, True)
    assert loopwright("sessions", "rewind", session, "1").code == 0
    assert loopwright("sessions", "resume", session).code == 0
    ended = loopwright("sessions", "resume", session)
    assert (ended.code, ended.out) == (2, "")  # nobody is invited to speak to it
    assert "sessions rewind" in ended.err
    forked = loopwright("sessions", "fork", session, "1").out.split("Forked into session ")[1].split(".")[0]
    assert loopwright("feedback", forked, "the target is the carina").code == 0
    resumed = loopwright("sessions", "resume", forked)
    assert resumed.code == 0
    assert "reached   Carina" in resumed.out
    assert loopwright("sessions", "export", session, "--out", str(tmp_path / "export")).code == 0
    assert any((tmp_path / "export").rglob("*.png"))
    assert loopwright("sessions", "report", session, "--out", str(tmp_path / "r.html")).code == 0
    assert "Skull" in (tmp_path / "r.html").read_text(encoding="utf-8")
    assert loopwright("sessions", "prune", session, "--yes").code == 0
    gone = loopwright("sessions", "show", session)
    assert gone.code == 2
    assert loopwright("sessions", "verify", forked).code == 0


def test_waiting_is_an_outcome_with_its_own_exit_code(run_carm: Run, loopwright: Run) -> None:
    said = run_carm("--start", "Carina", "--target", "T12", "--approval", "human", "--json")
    assert (said.code, said.json[-1]["status"]) == (6, "waiting")
    session = said.json[-1]["session"]
    assert "Understood: approve" in loopwright("feedback", session, "approve").out
    assert loopwright("sessions", "resume", session).code == 6  # the next motion waits for its own approval


def test_feedback_that_is_not_understood_is_clarified_at_once(run_carm: Run, loopwright: Run) -> None:
    session = run_carm("--start", "Carina", "--target", "T12", "--approval", "human", "--json").json[-1]["session"]
    said = loopwright("feedback", session, "go cranial")
    assert said.code == 2
    assert "Not understood" in said.out


def test_stop_from_another_terminal(run_carm: Run, patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    from loopwright.memory import open_memory

    def slow(pose: Pose) -> Localisation:
        with open_memory(settings().memory_url) as other:  # as another process would
            other.inbox.put(other.sessions.list()[0].id, "STOP", is_stop=True)
        time.sleep(0.5)
        return patient.truth(pose)

    monkeypatch.setattr(roles, "network_sees", network_that(slow))
    said = run_carm("--start", "Carina", "--target", "T12")
    assert said.code == 5
    assert "STOPPED" in said.out
    assert "moved" not in said.out.replace("removed", "")
    assert "loopwright sessions resume" in said.out


def test_ctrl_c_pauses_cleanly_and_says_how_to_resume(run_carm: Run, loopwright: Run, patient: Patient) -> None:
    def interrupting(pose: Pose) -> Localisation:
        os.kill(os.getpid(), signal.SIGINT)
        return patient.truth(pose)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(roles, "network_sees", network_that(interrupting))
        said = run_carm("--start", "Carina", "--target", "T12")
    assert said.code == 130
    assert "loopwright sessions resume" in said.out
    session = said.out.split("Session ")[1].split(".")[0]
    assert loopwright("sessions", "resume", session).code == 0


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        (("--start", "Carina", "--target", "T13"), 2, "T12"),
        (("--start", "Carina"), 2, "target"),
        (("--start", "9999,0,0", "--target", "T12"), 2, "envelope"),
        (("--start", "Carina", "--target", "T12", "--approval", "nobody"), 2, "approval"),
        (("--start", "Carina", "--target", "T12", "--max-set-size", "0"), 2, "max-set-size"),
        (("--start", "Carina", "--target", "T12", "--localiser", "eyes"), 2, "localiser"),
        (("--start", "Carina", "--target", "T12", "--navigator", "vlm", "--model", "./no.yaml"), 2, "no.yaml"),
    ],
)
def test_bad_options_name_the_thing(
    run_carm: Run, loopwright: Run, options: tuple[str, ...], code: int, says: str
) -> None:
    said = run_carm(*options)
    assert said.code == code
    assert says in said.err
    assert "No sessions yet" in loopwright("sessions", "list").out


def test_an_unknown_session_suggests_near_ones(run_carm: Run, loopwright: Run) -> None:
    session = run_carm("--start", "Carina", "--target", "T12", "--json").json[-1]["session"]
    said = loopwright("sessions", "show", f"{session[:-1]}x")
    assert said.code == 2
    assert session in said.err


def test_a_locked_memory_is_named_and_nothing_is_lost(
    run_carm: Run, loopwright: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run_carm("--start", "Carina", "--target", "T12", "--json").json[-1]["session"]
    monkeypatch.setenv("LOOPWRIGHT_MEMORY__BUSY_TIMEOUT_S", "0.2")
    file = Path(os.environ["LOOPWRIGHT_DATA_DIR"]) / "memory.sqlite"
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        said = run_carm("--start", "Carina", "--target", "T12")
        assert said.code == 4
        assert "locked" in said.err
        other.execute("ROLLBACK")
    assert loopwright("sessions", "verify", first).code == 0


def test_a_renderer_that_is_not_there(run_carm: Run, monkeypatch: pytest.MonkeyPatch, loopwright: Run) -> None:
    monkeypatch.setenv("LOOPWRIGHT_CARM__RENDERER", "deepdrr")
    said = run_carm("--start", "Carina", "--target", "T12", "--json")
    assert said.code == 3
    assert "doctor --setup deepdrr" in said.out


def test_tools_list_names_every_tool(loopwright: Run) -> None:
    from loopwright.tools.registry import TOOLS

    listed = loopwright("tools", "list").out
    assert all(tool.name in listed for tool in TOOLS)
    schemas = [json.loads(line) for line in loopwright("tools", "list", "--json").out.splitlines()]
    assert len(schemas) == len(TOOLS)


def test_what_is_not_known_ends_as_not_found(loopwright: Run) -> None:
    said = loopwright("run", "carm", "--volume", "stranger:legs:30000", "--start", "0,0,0", "--target", "T12")
    assert said.code == 7
    assert "not_found: T12 was not found: I do not know this anatomy" in said.out
    assert "unsure" in said.out and "Session not_found. Report:" in said.out
    assert "reached" not in said.out


def test_known_landmarks_that_contradict_a_claim_are_warned_of(
    run_carm: Run, patient: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def see(pose: Pose) -> Localisation:
        seen = patient.truth(pose)
        return seen.model_copy(update={"offsets_mm": {**seen.offsets_mm, "T12": seen.offsets_mm["Carina"]}})

    monkeypatch.setattr(roles, "network_sees", network_that(see))
    said = run_carm("--start", "Carina", "--target", "T12")
    assert said.code == 0
    away_mm = patient.distance_mm("T12", patient.over("Carina"))
    assert f"the known place of T12 is {away_mm:.0f} mm away: it is not centred" in said.out


def test_a_volume_and_the_landmarks_are_told(loopwright: Run, patient: Patient) -> None:
    told = loopwright("data", "volume", str(patient.volume), "--json").json[0]
    assert told["axes"] == "RAS" and told["start"].startswith('--start "')
    assert len(loopwright("data", "landmarks", "--json").json) == 14
