"""A loop that is not ours at the command line: run, spoken to, resumed, rewound, forked, replayed, reported, pruned."""

import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tests.page import Page

from loopwright.cli import application
from loopwright.memory import Verification
from loopwright.memory.events import Events
from loopwright.settings import settings

Cli = Callable[..., Any]
LOOP = "tests.loops.thermostat:thermostat"
ON = '{"name": "set_heater", "arguments": {"on": true}}'
SOURCE = Path(__file__).parents[1] / "loops" / "thermostat.py"


@pytest.fixture
def card(tmp_path: Path) -> str:
    """A model that heats."""
    file = tmp_path / "heats.yaml"
    file.write_text("kind: scripted\nreplies:\n" + f"  - '{ON}'\n" * 12)
    return str(file)


@pytest.fixture
def run(loopwright: Cli, card: str) -> Cli:
    """Runs the thermostat; what was said, and the session's id."""

    def begin(*options: str) -> tuple[Any, str]:
        said = loopwright("run", LOOP, "--model-of", f"navigator={card}", *options)
        (session,) = [row["id"] for row in loopwright("sessions", "list", "--json").json][:1]
        return said, session

    return begin


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A folder with an installed package that brings the loop `thermostat`, and a command."""
    folder = tmp_path / "site"
    info = folder / "warm_rooms-1.0.dist-info"
    info.mkdir(parents=True)
    (folder / "warm_rooms.py").write_text(SOURCE.read_text())
    (folder / "warm_rooms_commands.py").write_text(
        "from loopwright.cli.plugin import LoopCommands\n\n\n"
        'def measure() -> int:\n    """Measure a room."""\n    print("15 degrees")\n    return 0\n\n\n'
        'COMMANDS = LoopCommands(commands={"eval thermostat": measure})\n'
    )
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: warm-rooms\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[loopwright.loops]\nthermostat = warm_rooms:thermostat\n\n"
        "[loopwright.commands]\nthermostat = warm_rooms_commands:COMMANDS\n"
    )
    return folder


def test_runs_and_says_what_happens(run: Cli) -> None:
    done, session = run()
    assert done.code == 0, done.err
    assert "0 observed  read_room: heater_on false, room_c 15" in done.out
    assert "acted     switch the heater on" in done.out
    assert "finished  succeeded: it is 19.5 degrees" in done.out
    assert f"sessions report {session} --loop {LOOP}" in done.out


def test_waits_for_approval_and_goes_on(run: Cli, loopwright: Cli) -> None:
    waiting, session = run("--approval", "human")
    assert waiting.code == 6
    assert "asked     q1: May I switch the heater on?" in waiting.out
    assert loopwright("feedback", session, "target 17", "--loop", LOOP).out.startswith("Understood: set target")
    assert loopwright("feedback", session, "approve", "--loop", LOOP).code == 0
    again = loopwright("sessions", "resume", session, "--loop", LOOP)
    assert "heard     clinician: “approve”" in again.out


@pytest.fixture
def typed(loopwright: Cli, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """Runs an interactive command with a text as its whole input."""

    def run(text: str, *arguments: str) -> Any:
        monkeypatch.setattr(sys, "stdin", io.StringIO(text))
        return loopwright(*arguments, "--interactive")

    return run


def test_the_end_of_the_input_ends_waiting(typed: Cli, card: str, loopwright: Cli) -> None:
    """What was typed before it is still heard; the open question and how to answer it come last."""
    begun = typed("target 17\n", "run", LOOP, "--model-of", f"navigator={card}")
    assert begun.code == 6, begun.err
    session = loopwright("sessions", "list", "--json").json[0]["id"]
    *_, waits, question, answer = begun.out.splitlines()
    assert waits == "The session waits for an answer:"
    assert question == "  q1: May I switch the heater on? (approve, reject, target 21)"
    assert answer.startswith(f'Give it: loopwright feedback {session} --loop {LOOP} "..."')
    assert "heard     clinician: “target 17”" in begun.out
    again = typed("", "sessions", "resume", session, "--loop", LOOP, "--json")
    assert (again.code, again.json[-1]["questions"][0]["id"]) == (6, "q1")
    answered = typed("approve\n", "sessions", "resume", session, "--loop", LOOP)
    assert "Still open: q1: May I switch the heater on? (approve, reject, target 21)" in answered.out
    assert answered.code == 0  # warm enough after that
    assert "acted     switch the heater on" in answered.out


def test_what_can_be_done_with_its_record(run: Cli, loopwright: Cli, tmp_path: Path) -> None:
    _, session = run()
    assert "every payload hashes equal" in loopwright("sessions", "replay", session, "--loop", LOOP).out
    assert "33 events" in loopwright("sessions", "verify", session).out
    report = tmp_path / "report.html"
    assert loopwright("sessions", "report", session, "--loop", LOOP, "--out", str(report)).code == 0
    page = Page(report)
    page.assert_stands_alone()
    assert "Acted switch the heater on" in page.text
    assert len(page.all("article", class_="step")) == 4
    forked = loopwright("sessions", "fork", session, "1", "--loop", LOOP)
    assert forked.code == 0
    assert loopwright("sessions", "rewind", session, "2", "--loop", LOOP).code == 0
    assert loopwright("sessions", "resume", session, "--loop", LOOP).code == 0
    devices = settings().data_dir / "devices"
    assert list(devices.glob(f"{session}*"))
    assert loopwright("sessions", "prune", session, "--yes").code == 0
    assert not list(devices.glob(f"{session}*"))


def test_a_stop_is_heard_at_rest_without_the_loop_and_an_ended_session_says_so(run: Cli, loopwright: Cli) -> None:
    _, waiting = run("--approval", "human")
    stopped = loopwright("feedback", waiting, "stop!")
    assert (stopped.code, stopped.out) == (0, "Understood: stop. The session is stopped.\n")
    assert "STOPPED   by clinician: stop!" in loopwright("sessions", "show", waiting, "--loop", LOOP).out
    _, ended = run()
    refused = loopwright("feedback", ended, "stop!")
    assert refused.code == 2
    assert "has ended, it has succeeded" in refused.err


def test_a_loop_that_is_not_installed_is_asked_for(run: Cli, loopwright: Cli, tmp_path: Path) -> None:
    _, session = run("--approval", "human")
    for command in (("resume", session), ("rewind", session, "0"), ("fork", session, "0"), ("replay", session)):
        said = loopwright("sessions", *command)
        assert said.code == 2
        assert "'thermostat', which is not installed here" in said.err and "--loop module:attribute" in said.err
    assert loopwright("feedback", session, "target 20").code == 2
    shown = loopwright("sessions", "show", session)
    assert shown.code == 0 and "observed  read_room" in shown.out and "Shown without its loop" in shown.err
    assert loopwright("sessions", "report", session, "--out", str(tmp_path / "report.html")).code == 0


def test_a_loop_in_the_working_folder(
    run: Cli, loopwright: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, session = run()
    (tmp_path / "a_cooler.py").write_text(
        'from tests.loops.thermostat import thermostat\n\ncooler = thermostat.varied(name="cooler")\n'
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    other = loopwright("sessions", "replay", session, "--loop", "a_cooler:cooler")
    assert other.code == 2
    assert "is the loop 'cooler'; session" in other.err


def test_a_model_object_is_asked_for(loopwright: Cli, card: str) -> None:
    code = (
        "from tests.loops.thermostat import thermostat\n"
        "from loopwright.models.scripted import ScriptedChatModel\n"
        f"session = thermostat.start(models={{'navigator': ScriptedChatModel(replies=({ON!r},))}}, approval='human')\n"
        "print(session.id, session.run())"
    )
    begun = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    session, status = begun.stdout.split()
    assert status == "waiting"
    loopwright("feedback", session, "reject", "--loop", LOOP)
    refused = loopwright("sessions", "resume", session, "--loop", LOOP)
    assert refused.code == 2
    assert "ScriptedChatModel" in refused.err and "--model-of navigator=CARD" in refused.err
    assert [row["status"] for row in loopwright("sessions", "list", "--json").json] == ["waiting"]
    with_card = loopwright("sessions", "resume", session, "--loop", LOOP, "--model-of", f"navigator={card}")
    assert with_card.code == 6


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "'navigator' has no model"),
        (("--model-of", "navigator"), "expected ROLE=CARD"),
        (("--model-of", "pilot=small"), "Unknown role 'pilot'"),
        (("--approval", "nobody"), "nobody"),
    ],
)
def test_wrong_options_are_named(loopwright: Cli, options: tuple[str, ...], said: str) -> None:
    done = loopwright("run", LOOP, *options)
    assert done.code == 2
    assert said in done.err


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("thermostatt", "No such command 'thermostatt'"),
        ("no_such_module:loop", "no module `no_such_module`"),
        ("tests.loops.thermostat:nothing", "has no `nothing`"),
        ("tests.loops.thermostat:", "expected `module:attribute`"),
    ],
)
def test_a_loop_that_is_not_there(loopwright: Cli, name: str, said: str) -> None:
    done = loopwright("run", name)
    assert done.code == 2
    assert said in done.err


def test_terminal_sequences_are_shown_and_not_obeyed(run: Cli, loopwright: Cli) -> None:
    _, session = run("--approval", "human")
    loopwright("feedback", session, "note: \x1b]0;owned\x07 [bold]loud[/bold] \u202etxt", "--loop", LOOP)
    said = loopwright("sessions", "resume", session, "--loop", LOOP).out
    assert "\x1b" not in said and "\x07" not in said and "\u202e" not in said
    assert r"\x1b]0;owned\x07 [bold]loud[/bold] \u202etxt" in said


def test_terminal_sequences_in_what_broke_are_shown_too(
    run: Cli, loopwright: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, session = run()
    broken = Verification(ok=False, n=3, broken_seq=4, reason="\x1b[2J gone")
    monkeypatch.setattr(Events, "verify", lambda *_: broken)
    said = loopwright("sessions", "verify", session)
    assert (said.code, r"event 4: \x1b[2J gone" in said.out) == (1, True)
    failed = loopwright("sessions", "show", "a\x1b[2Jb\nc")
    assert r"\x1b[2J" in failed.err and "\x1b" not in failed.err


def test_draws_its_graph(loopwright: Cli, tmp_path: Path) -> None:
    text = loopwright("graph", "show", LOOP).out
    assert text.startswith("---") and "review -.-> heat;" in text
    assert loopwright("graph", "show", LOOP, "--out", str(tmp_path / "graph.svg")).code == 0
    assert "<title>Read the thermometer.</title>" in (tmp_path / "graph.svg").read_text()
    assert loopwright("graph", "show", LOOP, "--out", str(tmp_path / "graph.png")).code == 0
    with Image.open(tmp_path / "graph.png") as picture:
        assert picture.size[1] > picture.size[0] > 100
    refused = loopwright("graph", "show", LOOP, "--out", str(tmp_path / "graph.pdf"))
    assert refused.code == 2 and "`.svg` or `.png`" in refused.err


def test_a_package_brings_a_loop_and_commands(
    package: Path, card: str, loopwright: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(package)
    application.cache_clear()  # what is installed is looked up once in a process
    assert "thermostat" in loopwright("run", "--help").out
    ran = loopwright("run", "thermostat", "--model-of", f"navigator={card}", "--approval", "human", "--json")
    assert ran.code == 6, ran.err
    session = ran.json[-1]["session"]
    assert loopwright("feedback", session, "yes").code == 0
    assert loopwright("sessions", "replay", session).code == 0
    assert "set_heater" in loopwright("sessions", "show", session).out
    assert loopwright("eval", "thermostat").out == "15 degrees\n"
    application.cache_clear()


def test_an_entry_point_of_another_name_is_refused(
    package: Path, loopwright: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    (package / "warm_rooms-1.0.dist-info" / "entry_points.txt").write_text(
        "[loopwright.loops]\nheating = warm_rooms:thermostat\n"
    )
    monkeypatch.syspath_prepend(package)
    said = loopwright("graph", "show", "heating")
    assert said.code == 70
    assert "Give both one name" in said.err


def test_a_script_that_is_too_short_is_the_models_error(loopwright: Cli, tmp_path: Path) -> None:
    file = tmp_path / "short.yaml"
    file.write_text(f"kind: scripted\nreplies:\n  - '{ON}'\n")
    said = loopwright("run", LOOP, "--model-of", f"navigator={file}")
    assert said.code == 4
    assert "The scripted model has no reply left: its `replies` are 1" in said.err
    assert "'16.5 of 20.0'" in said.err and "traceback" not in said.err
