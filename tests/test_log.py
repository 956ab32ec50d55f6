"""Logging: stderr only, JSON for machines, the session's id on every line, no local variables in a traceback."""

import json
import logging
import subprocess
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

from loopwright.log import bound_session, configure_logging, get_logger


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    """The process's logging is put back as it was."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    logging.captureWarnings(False)
    root.handlers[:] = handlers
    root.setLevel(level)


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    captured = capsys.readouterr()
    assert captured.out == ""
    return [json.loads(line) for line in captured.err.splitlines()]


def test_json_for_machines(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info", "json")
    get_logger("loopwright.test").info("moved", left_mm=20.0)
    (line,) = lines(capsys)
    assert (line["event"], line["left_mm"], line["level"], line["logger"]) == ("moved", 20.0, "info", "loopwright.test")
    assert line["timestamp"].endswith("Z")


def test_console_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info", "console")
    get_logger("loopwright.test").warning("moved", left_mm=20.0)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "moved" in captured.err and "left_mm=20.0" in captured.err


def test_auto_means_json_where_no_person_looks(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info", "auto")
    get_logger("loopwright.test").info("moved")
    assert lines(capsys)[0]["event"] == "moved"


def test_the_level_holds(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("warning", "json")
    get_logger("loopwright.test").info("unseen")
    get_logger("loopwright.test").warning("seen")
    assert [line["event"] for line in lines(capsys)] == ["seen"]


def test_the_session_is_on_every_line_also_of_other_libraries(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info", "json")
    with bound_session("s-1", loop="carm"):
        get_logger("loopwright.test").info("ours")
        logging.getLogger("other").info("theirs: %d", 3)
    get_logger("loopwright.test").info("after")
    ours, theirs, after = lines(capsys)
    assert (ours["session"], ours["loop"], theirs["session"]) == ("s-1", "carm", "s-1")
    assert theirs["event"] == "theirs: 3"
    assert "session" not in after


def test_warnings_become_lines(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("warning", "json")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)  # inside: `catch_warnings` put back the original on entry
        warnings.warn("old way", DeprecationWarning, stacklevel=1)
    assert "old way" in lines(capsys)[0]["event"]


@pytest.mark.parametrize("style", ["json", "console"])
def test_a_traceback_shows_no_local_variables(capsys: pytest.CaptureFixture[str], style: Any) -> None:
    configure_logging("info", style)
    patient_name = "Doe^" + "Jane"
    try:
        raise ValueError(len(patient_name))
    except ValueError:
        get_logger("loopwright.test").exception("failed")
    said = capsys.readouterr().err
    assert "ValueError" in said
    assert patient_name not in said


def test_configuring_again_replaces(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info", "json")
    configure_logging("info", "json")
    get_logger("loopwright.test").info("once")
    assert len(lines(capsys)) == 1


def test_unconfigured_nothing_reaches_stdout() -> None:
    code = "from loopwright.log import get_logger; log = get_logger('x'); log.info('quiet'); log.warning('loud')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == ""
    assert "loud" in done.stderr and "quiet" not in done.stderr
