"""The one place that turns an error into a message and an exit code."""

import errno
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer

from loopwright import __version__
from loopwright.cli.application import commands
from loopwright.cli.output import EXIT_CODES
from loopwright.errors import BadInput, DeveloperError, MissingDependency, Paused, Stopped, UnknownName
from loopwright.settings import settings

Cli = Callable[..., Any]

RAISED = [
    (BadInput("`size` is 3"), 2, "BadInput: `size` is 3"),
    (UnknownName("loop", "carn", ["carm"]), 2, "Did you mean `carm`?"),
    (MissingDependency("run [pip] install x"), 3, "run [pip] install x"),
    (OSError(errno.ENOSPC, "No space left on device", "memory.sqlite"), 4, "`memory.sqlite`: No space left on device."),
    (
        IsADirectoryError(errno.EISDIR, "Is a directory", "cards"),
        2,
        "`cards`: a folder is there where a file is expected",
    ),
    (FileExistsError(errno.EEXIST, "File exists", "out"), 2, "`out`: a file is there where a folder is expected"),
    (PermissionError(errno.EACCES, "Permission denied", "memory.sqlite"), 4, "Permission denied"),
    (Stopped("clinician said STOP"), 5, "Stopped: clinician said STOP"),
    (Paused("resume with ..."), 130, "Paused: resume with ..."),
    (typer.Abort(), 1, "Aborted"),
    (KeyboardInterrupt(), 130, ""),
]


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException], None]:
    """Makes `loopwright config path` raise."""

    def fail_with(error: BaseException) -> None:
        def raise_it() -> None:
            raise error

        monkeypatch.setattr("loopwright.cli.config.config_file", raise_it)

    return fail_with


@pytest.mark.parametrize(("error", "code", "said"), RAISED, ids=lambda value: type(value).__name__)
def test_an_error_becomes_a_message_and_a_code(
    loopwright: Cli, failing: Cli, error: BaseException, code: int, said: str
) -> None:
    failing(error)
    done = loopwright("config", "path")
    assert (done.code, done.out) == (code, "")
    assert said in done.err
    assert "Traceback" not in done.err
    assert code in EXIT_CODES


def test_json_turns_an_error_into_one_object(loopwright: Cli, failing: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOPWRIGHT_CARM__IMAGE_SIZE_PX", "1")
    done = loopwright("config", "show", "--json")
    assert done.code == 2
    (line,) = done.json
    assert line["error"]["type"] == "BadInput" and line["error"]["exit_code"] == 2
    assert "carm.image_size_px" in line["error"]["message"]


@pytest.mark.parametrize("error", [ZeroDivisionError("division by zero"), DeveloperError("`f` has no docstring")])
def test_a_defect_leaves_its_traceback_in_a_file(loopwright: Cli, failing: Cli, error: Exception) -> None:
    failing(error)
    done = loopwright("config", "path")
    assert done.code == 70
    assert str(error) in done.err and "Traceback" not in done.err
    (file,) = (settings().data_dir / "crashes").iterdir()
    assert str(file) in done.err
    assert f"{type(error).__name__}: {error}" in file.read_text()


def test_a_defect_is_told_even_where_the_data_folder_cannot_be_written(
    loopwright: Cli, failing: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("LOOPWRIGHT_DATA_DIR", str(tmp_path / "file" / "data"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    failing(ZeroDivisionError("division by zero"))
    assert loopwright("config", "path").code == 70
    assert len(list(tmp_path.glob("loopwright-*.txt"))) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["confg"], "Did you mean 'config'?"),
        (["config", "show", "--jsn"], "--jsn"),
        (["feedback"], "SESSION"),
        (["config"], "Name a command"),
    ],
)
def test_wrong_usage_is_code_2(loopwright: Cli, arguments: list[str], said: str) -> None:
    done = loopwright(*arguments)
    assert done.code == 2
    assert said in done.err


def test_version(loopwright: Cli) -> None:
    assert loopwright("--version").out == f"loopwright {__version__}\n"


def test_help_states_every_exit_code(loopwright: Cli) -> None:
    said = loopwright("--help").out
    assert {int(code) for code in re.findall(r"^ *(\d+) ", said, flags=re.MULTILINE)} == set(EXIT_CODES)


def test_help_for_every_command(loopwright: Cli) -> None:
    for path, command in commands():
        done = loopwright(*path, "--help")
        assert done.code == 0, path
        assert command.help, f"`{' '.join(path)}` has no help"
        assert " ".join(path) in done.out


def test_a_reader_that_goes_away_is_no_error() -> None:
    code = "import sys; from loopwright.cli import main; sys.exit(main(['config', 'show', '--json']))"
    reader = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert reader.stdout is not None and reader.stderr is not None
    reader.stdout.close()
    assert reader.wait(60) == 1
    assert "Traceback" not in reader.stderr.read()
    reader.stderr.close()


def test_ctrl_c_is_130() -> None:
    code = (  # a runner in the background of a shell has SIGINT ignored, and its children inherit that
        "import signal, sys, time, loopwright.cli.config as config; from loopwright.cli import main; "
        "signal.signal(signal.SIGINT, signal.default_int_handler); "
        "config.config_file = lambda: (print('ready', flush=True), time.sleep(60)); "
        "sys.exit(main(['config', 'path']))"
    )
    running = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert running.stdout is not None
    assert running.stdout.readline() == "ready\n"
    time.sleep(0.05)
    os.kill(running.pid, signal.SIGINT)
    _, err = running.communicate(timeout=60)
    assert running.returncode == 130
    assert err == ""


def test_errors_without_settings_are_still_told(loopwright: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOPWRIGHT_CARM__NOTHING", "1")
    done = loopwright("sessions", "list", "--json")
    assert json.loads(done.out)["error"]["exit_code"] == 2
