import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from loopwright.errors import OperatorError, SessionBusy
from loopwright.schema import Act, Outcome
from loopwright.tools.device import Change, Device, State

COUNT = Act(tool="count")


def counted(key: str, state: State) -> Change:
    return Change({"n": state["n"] + 1}, Outcome(key=key, status="done", result={"n": state["n"] + 1}))


def count(device: Device, key: str) -> Outcome:
    return device.apply(key, COUNT, 1, lambda state: counted(key, state))


def test_a_key_counts_once_and_its_outcome_is_kept(tmp_path: Path) -> None:
    device = Device(tmp_path / "deep" / "d.sqlite", {"n": 0})
    first = count(device, "a")
    assert count(device, "a") == first == device.outcome_of("a")
    assert device.outcome_of("b") is None
    count(device, "b")
    assert Device(device.path, {"n": 99}).state() == {"n": 2}


@pytest.mark.parametrize("name", ["My%20Project", "what?mode=memory", "a%3Fb", "#1", "ü"])
def test_a_device_lies_in_the_folder_that_was_named(tmp_path: Path, name: str) -> None:
    count(Device(tmp_path / name / "d.sqlite", {"n": 0}), "a")
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert Device(tmp_path / name / "d.sqlite", {"n": 9}).state() == {"n": 1}


def test_a_state_is_replaced_only_while_no_session_holds_the_device(tmp_path: Path) -> None:
    device = Device(tmp_path / "d.sqlite", {"n": 0})
    device.replace({"n": 7})
    device.hold(3)
    with pytest.raises(SessionBusy, match=r"d\.sqlite` is held with token 3, this comes with token 0.*Nothing moved"):
        device.replace({"n": 8})
    assert Device(device.path, {}).state() == {"n": 7}
    device.hold(3)


def test_the_token_is_on_disk_with_the_refusal_of_smaller_ones(tmp_path: Path) -> None:
    Device(tmp_path / "d.sqlite", {"n": 0}).hold(2)
    with pytest.raises(SessionBusy):
        count(Device(tmp_path / "d.sqlite", {"n": 0}), "a")


def test_without_a_path_it_lives_in_this_process() -> None:
    device, other = Device(None, {"n": 0}), Device(None, {"n": 0})
    count(device, "a")
    assert (device.state(), other.state(), device.last_key(), other.last_key()) == ({"n": 1}, {"n": 0}, "a", None)
    device.hold(2)
    with pytest.raises(SessionBusy, match="in this process is held with token 2"):
        count(device, "b")


@pytest.mark.parametrize("has_file", [True, False])
def test_threads_do_not_lose_counts(tmp_path: Path, has_file: bool) -> None:
    device = Device(tmp_path / "d.sqlite" if has_file else None, {"n": 0})

    def work(name: str) -> None:
        for i in range(10):
            count(device, f"{name}{i % 5}")

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert device.state() == {"n": 20}


def test_an_act_that_raises_leaves_nothing(tmp_path: Path) -> None:
    device = Device(tmp_path / "d.sqlite", {"n": 0})

    def broken(state: State) -> Change:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        device.apply("a", COUNT, 1, broken)
    assert device.outcome_of("a") is None
    assert device.state() == {"n": 0}


CHILD = """
import os, signal, sys
from pathlib import Path
from loopwright.schema import Act, Outcome
from loopwright.tools.device import Change, Device

die = sys.argv[2]
device = Device(Path(sys.argv[1]), {"n": 0})
for i in range(int(sys.argv[3]), 100000):
    def change(state):
        if die == "inside" and i == 5:
            os.kill(os.getpid(), signal.SIGKILL)
        return Change({"n": state["n"] + 1}, Outcome(key=str(i), status="done"))
    device.apply(str(i), Act(tool="count"), 1, change)
    if die == "after" and i == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    print(i, flush=True)
"""


def start(path: Path, die: str, first: int = 0) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, str(path), die, str(first)], stdout=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize(("die", "applied"), [("inside", 5), ("after", 6)])
def test_a_process_killed_in_or_after_an_act_leaves_all_or_nothing(tmp_path: Path, die: str, applied: int) -> None:
    child = start(tmp_path / "d.sqlite", die)
    out, _ = child.communicate()
    assert child.returncode == -signal.SIGKILL
    assert out.split() == ["0", "1", "2", "3", "4"]
    device = Device(tmp_path / "d.sqlite", {"n": 0})
    assert device.state() == {"n": applied}
    assert [device.outcome_of(str(i)) is not None for i in range(7)] == [i < applied for i in range(7)]


def test_kills_at_any_moment_lose_nothing_that_was_reported(tmp_path: Path) -> None:
    path, first = tmp_path / "d.sqlite", 0
    for pause_s in (0.0, 0.003, 0.007, 0.013):
        child = start(path, "never", first)
        assert child.stdout is not None
        reported = int(child.stdout.readline())
        time.sleep(pause_s)
        child.kill()
        later = child.stdout.read().split()
        reported = int(later[-1]) if later else reported
        child.wait()
        child.stdout.close()
        device = Device(path, {"n": 0})
        first = device.state()["n"]
        assert first in (reported + 1, reported + 2), "the act in flight may have been committed, none before it lost"
        assert all(device.outcome_of(str(i)) is not None for i in range(first))
        assert device.outcome_of(str(first)) is None


def test_a_file_that_is_no_device_is_named(tmp_path: Path) -> None:
    path = tmp_path / "notes.sqlite"
    path.write_text("these are notes, and rather more than a header of them")
    with pytest.raises(OperatorError, match=r"`.*notes\.sqlite` cannot be used: file is not a database"):
        Device(path, {})
    with pytest.raises(OperatorError, match="cannot be used"):
        Device(path / "below-a-file" / "d.sqlite", {})


def test_a_device_that_vanished_is_reported_and_not_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "d.sqlite"
    device = Device(path, {"n": 7})
    path.unlink()
    with pytest.raises(OperatorError, match="unable to open"):
        device.state()
    with pytest.raises(OperatorError, match="Nothing was changed"):
        count(device, "a")
    assert not path.exists()


def test_a_locked_device_is_reported_after_the_wait(tmp_path: Path) -> None:
    path = tmp_path / "d.sqlite"
    device = Device(path, {"n": 0}, busy_timeout_s=0.05)
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    with pytest.raises(OperatorError, match="locked"):
        count(device, "a")
    holder.execute("ROLLBACK")
    holder.close()
    assert count(device, "a").status == "done"


def test_a_full_disk_loses_nothing(tmp_path: Path) -> None:
    """A file size limit stands in for the disk."""
    script = (
        "import resource, sys; from pathlib import Path; from loopwright.schema import Act, Outcome;"
        "from loopwright.errors import OperatorError; from loopwright.tools.device import *;"
        "d = Device(Path(sys.argv[1]), {'n': 0});"
        "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (Path(sys.argv[1]).stat().st_size, resource.RLIM_INFINITY))\n"
        "big = Act(tool='x' * 100000)\n"
        "try: d.apply('k', big, 1, lambda s: Change({'n': 1}, Outcome(key='k', status='done')))\n"
        "except OperatorError as e: print(e)\n"
        "import json; print(json.dumps(d.state()), d.outcome_of('k'))"
    )
    path = tmp_path / "d.sqlite"
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True, env=dict(os.environ)
    )
    message, state = done.stdout.strip().splitlines()
    assert "cannot be used" in message
    assert state == json.dumps({"n": 0}) + " None"
